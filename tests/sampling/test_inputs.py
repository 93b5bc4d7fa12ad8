"""Images in the form that a model takes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pinxit
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.load_options import LoadOptions
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping.source import open_images
from pinxit.runs import FORMAT, Run
from pinxit.sampling.inputs import (
    join_images,
    labels_for,
    load_for_run,
    load_named_images,
    load_run_data,
    match_labels,
    select_split,
)
from pinxit.training.resume import reload_images
from tests.builders import blobs, build_vae, save_npz
from tests.data.streams.shard_sets import write_shards


def test_labels_are_matched_by_name_to_those_of_a_label_conditional_model():
    conditional, unconditional = build_vae(condition="label"), build_vae()
    images = blobs(8)
    names = (*images.label_names[::-1][:3], "elsewhere")  # reordered, one unknown
    labels = np.array([0, 1, 2, 3, -1, 0, 1, 2])
    other = Images(images.pixels, labels=labels, label_names=names)
    matched = match_labels(conditional, other)
    assert matched.labels.tolist() == [3, 2, 1, -1, -1, 3, 2, 1]
    assert labels_for(conditional, matched) is matched.labels
    assert labels_for(unconditional, other) is None
    assert match_labels(unconditional, other) is other


@given(
    label=st.integers(-4, 6),
    names=st.lists(st.sampled_from([*blobs().label_names, "elsewhere"]), unique=True),
)
def test_labels_are_matched_by_name_or_refused(label, names):
    model = build_vae(condition="label")
    pixels, labels = blobs(1).pixels, np.array([label])
    if label < -1 or (names and label >= len(names)):
        with pytest.raises(UsageError, match="has no name"):
            Images(pixels, labels=labels, label_names=tuple(names))
        return
    image = Images(pixels, labels=labels, label_names=tuple(names))
    known = ("", *model.info.label_names)
    name = "" if label == -1 or image.label_names[label] not in known else names[label]
    assert match_labels(model, image).labels.tolist() == [known.index(name) - 1]


@given(st.lists(st.tuples(st.permutations(blobs().label_names), st.integers(-2, 3)), min_size=1))
def test_images_are_joined_with_their_labels_by_name(parts):
    pixels = blobs(1).pixels
    images = [
        Images(pixels, labels=np.array([label]), label_names=tuple(names))
        if label > -2
        else Images(pixels)
        for names, label in parts
    ]
    joined = join_images(images)
    assert len(joined) == len(images)
    expected = [names[label] if label >= 0 else None for names, label in parts]
    if joined.labels is None:
        assert all(label == -2 for _, label in parts)
    else:
        found = [joined.label_names[label] if label >= 0 else None for label in joined.labels]
        assert found == expected


def test_without_a_test_split_all_images_are_used_with_a_warning():
    images = blobs(40)
    test, warning = select_split(images)
    assert (len(test), warning) == (10, "")
    test, warning = select_split(images.split("train"))
    assert len(test) == 20
    assert "no test split" in warning
    assert "the 20 images used" in warning
    assert "the 1 image used" in select_split(images[:1].split("train"))[1]


def test_a_split_without_images_is_an_error_that_names_those_with_images():
    images = blobs(40)
    assert len(select_split(images, "train")[0]) == 20
    assert select_split(images, "all") == (images, "")
    with pytest.raises(UsageError, match="'test-held-out'; its splits: train 20"):
        select_split(images, "test-held-out")
    with pytest.raises(UsageError, match="no images of the split 'validation'; it has no splits"):
        select_split(dataclasses.replace(images, splits=None), "validation")


def write_run(folder, source: str, options: LoadOptions, images: Images) -> Run:
    run = Run(folder)
    data = {"source": source, "files": [], "options": options.to_json()}
    record = {"format": FORMAT, "family": "vae", "dataset_info": images.info().to_json()}
    run.write("config.json", {**record, "data": data})
    return run


def test_the_data_of_a_run_is_loaded_with_its_options(tmp_path):
    options = LoadOptions(size=16, limit=50, captions="labels", data_seed=3)
    images = load_images("digits", options, progress=False)
    run = write_run(tmp_path, "digits", options, images)
    assert load_run_data(run, progress=False).fingerprint == images.fingerprint
    assert len(load_run_data(run, progress=False)) == 50


def test_other_data_is_loaded_with_the_shape_of_the_run_but_without_its_limit(tmp_path):
    options = LoadOptions(size=16, limit=50, data_seed=3)
    run = write_run(tmp_path, "digits", options, load_images("digits", options, progress=False))
    other = load_for_run(run, ["digits"], progress=False)
    assert len(other) > 1000
    assert (other.height, other.width, other.channels) == (16, 16, 1)
    images = blobs(4)
    assert load_for_run(run, images) is images


@pytest.mark.parametrize("stream", ["on", "off", "auto"])
def test_the_own_data_of_a_run_are_streamed_as_in_training_when_they_are_named(tmp_path, stream):
    write_shards(tmp_path / "set", [700])
    options = LoadOptions(stream=stream)
    own = str(tmp_path / "set")
    images = load_images(own, options, progress=False)
    run = write_run(tmp_path / "run", own, options, images)
    for name in (own, f"{own}/", tmp_path / "run/../set"):
        named = load_for_run(run, [name], progress=False)
        assert named.fingerprint == images.fingerprint
        assert (named.stream is None) == (stream != "on")
    assert load_for_run(run, [own], progress=False, limit=50).stream is None
    write_shards(tmp_path / "other", [20])
    assert load_for_run(run, [str(tmp_path / "other")], progress=False).stream is None


@pytest.mark.parametrize("group_by", ["burst", "clip"])
def test_other_data_need_not_have_the_groups_of_the_run(tmp_path, group_by):
    images = load_images("digits", progress=False)
    run = write_run(tmp_path, "digits", LoadOptions(group_by=group_by), images)
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8), np.uint8))
    assert len(load_for_run(run, [str(tmp_path / "one.npy")], progress=False)) == 1


# values that a run can be trained with, on images with labels and texts
LOAD_VALUES = {
    "size": [None, 16, "12x10"],
    "fit": ["crop", "pad"],
    "color": ["auto", "grey", "rgb"],
    "range": ["auto", "0,4095", "-1,1"],
    "background": ["auto", "black", "#ff8000"],
    "resample": ["auto", "nearest", "area", "lanczos"],
    "limit": [None, 1, 50],
    "captions": [None, "labels", "templates.toml"],
    "languages": [None, "en", "en,fr"],
    "group_by": ["auto", "none", "burst", "clip"],
    "strict": [False, True],
    "stream": ["auto", "on", "off"],
    "stream_window": [1, 8],
    "data_seed": [None, 0, 3],
}


def test_values_of_all_load_options_are_here():
    assert set(LOAD_VALUES) == {field.name for field in dataclasses.fields(LoadOptions)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in LOAD_VALUES.items() for value in values]
)
def test_an_image_is_loaded_whatever_the_load_options_of_the_run(tmp_path, name, value, channels):
    shaped = blobs(4, *((10, 12) if value == "12x10" else (16, 16)), channels)
    run = write_run(tmp_path / "run", "digits", LoadOptions(**{name: value}), shaped)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    files = [tmp_path / "other" / f"{k}.png" for k in "ab"]
    files[0].parent.mkdir()
    for file in files:
        Image.fromarray(pixels).save(file)
    for data in ([files[0]], [str(files[0])], files, [files[0].parent]):
        images = load_for_run(run, data, progress=False)
        assert images.pixels.shape[1:] == shaped.pixels.shape[1:]
        assert len(images) == (1 if data[0] == data[-1] and Path(data[0]).is_file() else 2)
    if name != "limit":  # a part of DATA is mapped only if it is named
        assert len(open_images(run, [str(files[0].parent)], "all", progress=False)) == 2
    assert len(load_named_images(run, files, progress=False)) == 2


@pytest.mark.parametrize(
    ("options", "row", "captions", "error"),
    [
        ({"captions": "labels"}, {"label": "bird"}, {"en", "fr"}, ""),
        ({"captions": "labels"}, {"label": "elsewhere"}, {}, "no built-in captions"),
        ({"captions": "labels"}, {}, {}, "neither captions nor labels"),
        ({"captions": "labels", "languages": "fr"}, {"label": "elsewhere"}, {}, "no built-in"),
        ({"captions": "labels", "languages": "fr"}, {"caption_fr": "un chat"}, {"fr"}, ""),
        ({"captions": "labels", "languages": "fr"}, {"caption_en": "a cat"}, {"en"}, "'fr'; they"),
        ({"languages": "en,fr"}, {"caption_fr": "un chat"}, {"fr"}, "'en'; they are in fr"),
        ({"languages": "fr,en"}, {"caption_fr": "a", "caption_de": "b"}, {"fr"}, "in de fr"),
        ({"languages": "en"}, {"caption_fr": "un chat"}, {"fr"}, "'en'; they are in fr"),
        ({"languages": "en"}, {}, {}, "'en'; there are no captions"),
    ],
)
def test_other_data_need_not_have_the_texts_of_the_run(
    tmp_path, capsys, options, row, captions, error
):
    other = tmp_path / "other"
    other.mkdir()
    Image.new("L", (8, 8)).save(other / "0.png")
    (other / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", **row}))
    run = write_run(tmp_path / "run", "digits", LoadOptions(**options), blobs(4))
    assert set(load_for_run(run, [str(other)]).captions) == set(captions)
    printed = capsys.readouterr().err
    assert ("captions are not read as in training" in printed) == bool(error)
    assert error in printed
    assert set(load_for_run(run, [str(other)], progress=False).captions) == set(captions)
    assert len(open_images(run, [str(other)], "all", progress=False)) == 1
    assert not capsys.readouterr().err
    own = write_run(tmp_path / "own", str(other), LoadOptions(**options), blobs(4))
    if error:  # images of the training are as they were
        for load in (lambda: load_run_data(own), lambda: load_for_run(own, [str(other)])):
            with pytest.raises(UsageError, match=error):
                load()


def test_other_images_have_the_range_and_background_of_the_run(tmp_path):
    np.save(tmp_path / "set.npy", np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8) * 20)
    options = LoadOptions()
    images = load_images(str(tmp_path / "set.npy"), options, progress=False)
    run = write_run(tmp_path / "run", str(tmp_path / "set.npy"), options, images)
    assert run.load_options.range == "integer:0,4095"
    assert load_run_data(run, progress=False).fingerprint == images.fingerprint
    np.save(tmp_path / "dim.npy", np.full((1, 8, 8), 273, np.uint16))
    assert (load_for_run(run, [str(tmp_path / "dim.npy")], progress=False).pixels == 17).all()


def test_a_run_of_images_given_in_python_needs_data(tmp_path):
    run = write_run(tmp_path, "", LoadOptions(), blobs(8))
    with pytest.raises(PinxitError, match="was trained on images given in Python; name DATA"):
        load_run_data(run)


@pytest.mark.parametrize("source", ["shapes-edits:24", "shapes-edits:50"])
def test_the_source_of_a_pair_is_the_image_before_its_edit(source, tmp_path):
    options = LoadOptions(size=16)
    pairs = load_images(source, options, progress=False)
    run = write_run(tmp_path, source, options, pairs)
    attached = pinxit.Run(run.path)
    attached.attach_images(pairs)
    for k, row in enumerate(pairs.split_indices("test")[:5]):
        for name in (str(k), pairs.names[int(row)]):
            by_name = [load_named_images(run, [name], sources=True, progress=False)]
            by_name += [pinxit.Run(run.path).read_one(name, sources=True)]
            by_name += [attached.read_one(name, sources=True)]
            assert all((image.pixels[0] == pairs.before[row]).all() for image in by_name)
            after = load_named_images(run, [name], progress=False)
            assert (after.pixels[0] == pairs.pixels[row]).all()


def test_an_image_of_an_edit_is_edited_again_as_it_is():
    edited = blobs(1)
    assert pinxit.Run("runs/none").read_one(edited, sources=True) is edited


def test_labels_that_have_no_names_are_joined_as_numbers():
    images = dataclasses.replace(blobs(6), label_names=())
    joined = join_images([images[:1], images[3:4]])
    assert joined.labels.tolist() == [images.labels[0], images.labels[3]]


def test_data_of_earlier_runs_need_not_have_the_bursts_of_their_options(tmp_path):
    """They were trained on them without a word."""
    data = save_npz(tmp_path / "blobs.npz", blobs(40))
    config = pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1)
    run = Run(pinxit.train(config, data, out=tmp_path / "run", steps=2, quiet=True).path)
    record = {**run.config["data"]}
    record["options"] = {**record["options"], "group_by": "burst"}
    run.write("config.json", {**run.config, "data": record})
    run = Run(run.path)
    assert len(load_run_data(run, progress=False)) == 40
    assert len(load_for_run(run, [str(data)], progress=False)) == 40
    assert len(reload_images(run, str(data), progress=False)) == 40
