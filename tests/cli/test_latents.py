"""`pinxit interpolate` and `pinxit traverse`: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pinxit.data.load import load_images


def test_interpolate_between_images_and_seeds(folder, run_pinxit):
    run = folder / "run"
    images = folder / "0.png", folder / "1.png"
    assert run_pinxit("interpolate", run, *images)[-1].endswith("0-1.png")
    assert run_pinxit("interpolate", run, images[0], images[0])[-1].endswith("0-0.png")
    path = run_pinxit("interpolate", run, "--seeds", 0, 1, "--steps", 6, "--gif")[-1]
    assert path == str(run / "interpolate-seeds-0-1.gif")
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
        (["--texts", "a", "b"], "a vae run cannot"),
    ],
)
def test_interpolate_refuses_invalid_options(folder, fail, words, text):
    words = [word.format(folder) for word in words]
    assert text in fail("interpolate", folder / "run", *words)


def test_traverse_takes_the_most_active_latents(folder, run_pinxit, fail):
    path = run_pinxit("traverse", folder / "run", "--latents", 3)[-1]
    assert path.endswith("traverse-3.png")
    words = ["--latents", 2, "--image", folder / "1.png", "--json"]
    record = json.loads("\n".join(run_pinxit("traverse", folder / "labelled", *words)))
    assert record["path"].endswith("traverse-2-1.png")
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
