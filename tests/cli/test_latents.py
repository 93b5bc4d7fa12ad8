"""`pinxit interpolate` and `pinxit traverse`: what they print, write and refuse."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.sampling.grids import encode_gif
from pinxit.sampling.inputs import match_labels
from tests.builders import blobs, make_run


def test_interpolate_between_images_and_seeds(folder, run_pinxit):
    run = folder / "run"
    images = folder / "0.png", folder / "1.png"
    for ends, name in ((images, "0-1"), ((images[0], images[0]), "0-0")):
        file = Path(run_pinxit("interpolate", run, *ends)[-1])
        assert re.fullmatch(rf"interpolate-{name}-[0-9a-f]{{8}}\.png", file.name)
    path = run_pinxit("interpolate", run, "--seeds", 0, 1, "--steps", 6, "--gif")[-1]
    assert path == str(run / "interpolate-seeds-0-1-steps6.gif")
    assert Image.open(path).n_frames == 10
    path = run_pinxit("interpolate", run, "--seeds", 0, 1, "--path", "linear")[-1]
    assert path.endswith("interpolate-seeds-0-1-linear.png")
    run_pinxit("interpolate", run, "--seeds", 0, 1, "-o", "way.gif")
    assert Image.open("way.gif").format == "GIF"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "--seeds 0 1"),
        (["{}/0.png"], "not 1"),
        (["{}/0.png", "{}/1.png", "{}/2.png"], "not 3"),
        (["{}/0.png", "{}/1.png", "--seeds", "0", "1"], "two images"),
        (["{}/0.png", "{}/none.png"], "no image file"),
        (["--seeds", "0", "1", "--steps", "1"], "2 or more"),
        (["{}/0.png", "{}/1.png", "--texts", "a", "b"], "two images"),
        (["--seeds", "0", "1", "--language", "en"], "is that of --texts"),
        (["{}/0.png", "{}/1.png", "--language", "en"], "is that of --texts"),
        (["--texts", "a", "b"], "a vae run cannot"),
        (["--seeds", "0", "1", "--gif", "-o", "x.png"], "--gif writes a .gif: --out FILE.gif"),
    ],
)
def test_interpolate_refuses_invalid_options(folder, fail, words, text):
    words = [word.format(folder) for word in words]
    assert text in fail("interpolate", folder / "run", *words)


@pytest.mark.parametrize("ends", [{"images": (0, 1)}, {"seeds": (0, 1)}], ids=str)
def test_each_option_of_an_interpolation_changes_it_or_is_refused(folder, ends):
    """Of the Python method, whose options are those of the command."""
    run = pinxit.Run(folder / "run")
    options = {"steps": 4, "path": "linear", "language": "en", "texts": ("a", "b"), "seeds": (2, 3)}
    images, ends = ends.get("images", ()), {k: v for k, v in ends.items() if k != "images"}
    names = set(inspect.signature(run.interpolate).parameters) - {"images"}
    assert set(options) == names
    plain = run.interpolate(*images, **ends)
    for name, value in options.items():
        try:
            changed = run.interpolate(*images, **{**ends, name: value})
        except PinxitError:
            assert name in ("language", "texts", "seeds")
        else:
            assert (
                changed.pixels.shape != plain.pixels.shape or (changed.pixels != plain.pixels).any()
            )


def test_traverse_takes_the_most_active_latents(folder, run_pinxit, fail):
    path = run_pinxit("traverse", folder / "run", "--latents", 3)[-1]
    assert path.endswith("traverse-3.png")
    words = ["--latents", 2, "--image", folder / "1.png", "--json"]
    record = json.loads("\n".join(run_pinxit("traverse", folder / "labelled", *words)))
    assert re.search(r"traverse-2-image-1-[0-9a-f]{8}\.png$", record["path"])
    assert len(record["latents"]) == 2
    assert record["latents"][0]["kl"] >= record["latents"][1]["kl"]
    assert "has 4 latents" in fail("traverse", folder / "run")  # the default is 8


def test_images_of_the_runs_own_data_go_by_name_and_by_number(folder, run_pinxit, fail, tmp_path):
    """Someone who trained on a known data set has no image files."""
    run, gifs = folder / "run", [tmp_path / "a.gif", tmp_path / "b.gif"]
    test = load_images(folder / "blobs.npz", progress=False).split("test")
    run_pinxit("interpolate", run, test.names[3], test.names[7], "-o", gifs[0])
    run_pinxit("interpolate", run, 3, 7, "-o", gifs[1])
    assert gifs[0].read_bytes() == gifs[1].read_bytes()
    sheets = [run_pinxit("traverse", run, "--latents", 1, "--image", i)[-1] for i in (3, 7)]
    assert Path(sheets[0]).read_bytes() != Path(sheets[1]).read_bytes()
    assert "Did you mean" in fail("interpolate", run, f"{test.names[3]}x", 7)
    assert "numbered 0 to 29" in fail("traverse", run, "--image", 30)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".JPEG"])
def test_sheets_are_written_in_the_format_of_their_suffix(folder, run_pinxit, tmp_path, suffix):
    path = tmp_path / f"sheet{suffix}"
    run_pinxit("traverse", folder / "run", "--latents", 2, "-o", path)
    assert Image.open(path).format == {".webp": "WEBP"}.get(suffix, "JPEG")


@pytest.fixture(scope="module")
def label_run(tmp_path_factory) -> tuple[Run, list[str], Images]:
    """A run of a VAE of four labels, the names of an image of each and of a file without one."""
    folder, images = tmp_path_factory.mktemp("labels"), blobs(64)
    for i, label in enumerate(images.labels.tolist()):
        file = folder / "data" / images.label_names[label] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.pixels[i, ..., 0]).save(file)
    loaded = load_images(folder / "data", progress=False)
    first = np.unique(loaded.labels, return_index=True)[1]
    assert len(first) == 4
    other = shutil.copy(file, folder / "other.png")
    names = [*(loaded.names[i] for i in first), str(other)]
    ends = Images.concatenate([loaded[first], load_images(other, progress=False)])
    ends = dataclasses.replace(
        ends, labels=np.array([0, 1, 2, 3, -1]), label_names=loaded.label_names
    )
    return make_run(folder / "run", loaded, steps=60, condition="label"), names, ends


@pytest.mark.parametrize("pair", list(itertools.product(range(5), repeat=2)))
def test_an_interpolation_has_the_labels_of_its_two_images(label_run, pair, run_pinxit, tmp_path):
    run, names, ends = label_run
    opened = pinxit.Run(run.path)
    frames = opened.interpolate(*(names[i] for i in pair), steps=4)
    expected = opened.model.reconstruct(match_labels(opened.model, ends[list(pair)]))
    assert np.abs(frames.pixels[[0, -1]].astype(int) - expected.pixels).max() <= 1
    words = [*(names[i] for i in pair), "--steps", 4, "-o", tmp_path / "way.gif"]
    run_pinxit("interpolate", run.path, *words)
    assert (tmp_path / "way.gif").read_bytes() == encode_gif(frames)
