"""`LoadOptions`: validated once, and made from keywords, a dict or an instance."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

import pinxit
from pinxit.data.load import load_images
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.sampling.inputs import load_for_run
from pinxit.training.api import train
from tests.builders import blobs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "big"}, "a size is '64', or '96x64' for width x height, not 'big'"),
        ({"size": 2}, "the sides of a size must be 4 to 4,096 pixels"),
        ({"fit": "stretch"}, "fit is 'crop' or 'pad', not 'stretch'"),
        ({"color": "cmyk"}, "color is 'auto', 'grey' or 'rgb', not 'cmyk'"),
        ({"limit": 0}, "limit is a number of images, 1 or more, not 0"),
        ({"data_seed": -1}, "data_seed must be 0 or more, not -1"),
    ],
)
def test_invalid_values_are_rejected(options, message):
    for make in (LoadOptions, make_load_options):
        with pytest.raises(UsageError, match=message):
            make(**options)


def test_an_unknown_option_suggests_the_nearest_one():
    for call in (
        lambda: load_images("digits", limits=10),
        lambda: load_images("digits", {"limits": 10}),
        lambda: make_load_options(LoadOptions(), limits=10),
    ):
        with pytest.raises(UsageError, match=r"no 'limits'\. Did you mean 'limit'"):
            call()


def test_keywords_override_an_instance_and_a_dict():
    expected = LoadOptions(size=32, fit="pad", limit=9)
    assert make_load_options(LoadOptions(size=32, limit=5), fit="pad", limit=9) == expected
    assert make_load_options({"size": 32, "limit": 5}, fit="pad", limit=9) == expected
    assert make_load_options() == LoadOptions()


def test_options_survive_json():
    options = make_load_options(size=(48, 64), captions=Path("templates.txt"), data_seed=3)
    assert options.captions == "templates.txt"
    assert make_load_options(json.loads(json.dumps(options.to_json()))) == options


def test_the_seed_is_zero_unless_it_is_given():
    assert LoadOptions().seed == 0
    assert LoadOptions(data_seed=7).seed == 7


def test_height_and_width_are_parsed_from_the_size():
    assert LoadOptions().height_width is None
    assert LoadOptions(size=32).height_width == (32, 32)
    assert LoadOptions(size="96x64").height_width == (64, 96)


def test_a_broken_file_is_skipped_unless_strict(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert len(load_images(tmp_path, progress=False, **LoadOptions().to_json())) == 1
    with pytest.raises(PinxitError, match=r"broken\.png"):
        load_images(tmp_path, strict=True, progress=False)


# a value of each option that is not its default
OTHER_VALUES = {
    "size": 16, "fit": "pad", "color": "rgb", "range": "0,100", "background": "black",
    "resample": "area", "limit": 2, "captions": "labels", "languages": "en", "group_by": "none",
    "strict": True, "stream": "off", "stream_window": 2, "data_seed": 3,
}  # fmt: skip


def test_every_option_has_another_value_here():
    assert set(OTHER_VALUES) == {field.name for field in dataclasses.fields(LoadOptions)}
    for name, value in OTHER_VALUES.items():
        assert getattr(LoadOptions(), name) != value


@pytest.mark.parametrize("name", sorted(set(OTHER_VALUES) - {"data_seed"}))
def test_options_with_images_that_are_loaded_already_are_refused(tmp_path, name):
    images, options = blobs(8), {name: OTHER_VALUES[name]}
    out = tmp_path / "run"
    for call in (
        lambda: load_images(images, **options),
        lambda: load_images(images, LoadOptions(**options)),
        lambda: pinxit.look(images, **options),
        lambda: pinxit.look(images, load=LoadOptions(**options)),
        lambda: pinxit.train("vae", images, out=out, steps=1, quiet=True, **options),
        lambda: train("vae", images, out=out, steps=1, quiet=True, load=options),
        lambda: load_for_run(Run(out), images, **options),
    ):
        with pytest.raises(UsageError, match=rf"^{name} is an option of loading a source; these"):
            call()
    assert not out.exists()


def test_several_options_with_images_are_all_named_and_unknown_ones_refused():
    with pytest.raises(UsageError, match=r"^size, limit are options of loading a source; these"):
        load_images(blobs(2), size=16, limit=1, data_seed=3)
    assert load_images(images := blobs(2), data_seed=3) is images
    for call in (load_images, pinxit.look):
        with pytest.raises(UsageError, match="no 'sizes'"):
            call(blobs(2), sizes=8)
