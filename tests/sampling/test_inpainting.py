"""`pinxit complete` over every family that completes: each way to say what is missing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import main
from pinxit.data.images import Images
from pinxit.models import get_family, list_families
from pinxit.sampling.grids import columns_with_titles
from pinxit.sampling.inpainting import parse_mask_ratios
from tests.builders import blobs

COMPLETING = [name for name in list_families() if "complete" in get_family(name).ABILITIES]


@pytest.fixture(scope="module", params=COMPLETING)
def run(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    return pinxit.train(
        get_family(request.param).Config(), "digits", out=out, steps=2, batch_size=16, quiet=True
    ).path


@pytest.fixture
def image(tmp_path):
    """An image file of the digits' size."""
    path = tmp_path / "one.png"
    return blobs(1).save(path)


def run_complete(capsys, *words) -> tuple[int, str, str]:
    code = main(["complete", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def read_pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_some_family_completes():
    assert {"mae", "igpt"} <= set(COMPLETING)


def test_without_a_choice_it_takes_what_the_family_can(run, capsys):
    code, out, _ = run_complete(capsys, run, "-n", 3)
    assert code == 0
    lines = out.strip().splitlines()
    assert "3 images" in lines[0]
    assert read_pixels(lines[-1]).std() > 5


@pytest.mark.parametrize(
    "how", [["--ratio", 0.5], ["--half", "left"], ["--box", 2, 2, 4, 4]], ids=lambda how: how[0]
)
def test_all_pixels_that_are_known_come_back(run, how, image, tmp_path, capsys):
    out = tmp_path / "made.npy"
    code, _, err = run_complete(capsys, run, image, *how, "-o", out)
    assert code == 0, err
    pixels, given = np.load(out), blobs(1).pixels
    assert pixels.shape == given.shape
    changed = (pixels != given).any(-1).mean()
    assert changed <= {"--ratio": 0.5, "--half": 0.5, "--box": 16 / 64}[how[0]]


def test_a_mask_of_another_size_is_resized_with_a_word(run, image, tmp_path, capsys):
    white = np.zeros((1, 16, 16, 1), np.uint8)
    white[:, 8:] = 255
    mask = Images(white).save(tmp_path / "mask.png")
    out = tmp_path / "made.npy"
    code, _, err = run_complete(capsys, run, image, "--mask", mask, "-o", out)
    assert code == 0, err
    assert "the mask is 16 x 16; resized to 8 x 8." in err
    assert np.array_equal(np.load(out)[0, :4], blobs(1).pixels[0, :4])


def test_the_chapter_s_figure_has_a_column_for_each_ratio(run, capsys):
    code, out, _ = run_complete(capsys, run, "--compare", "75,85,95", "-n", 2)
    assert code == 0
    assert "compare-75-85-95" in out
    sheet = read_pixels(out.strip().splitlines()[-1])
    assert sheet.shape[1] > 7 * 64


def test_the_same_seed_gives_the_same_sheet(run, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        words = ["-n", 2, "--completions", 2, "--seed", 5, "-o", tmp_path / name]
        assert run_complete(capsys, run, *words)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--ratio", 1.2], "between 0 and 1"),
        (["--ratio", 0], "between 0 and 1"),
        (["--ratio", 0.5, "--half", "left"], "--half and --ratio cannot be combined"),
        (["--box", 5, 5, 9, 9], "is not inside"),
        (["--mask", "nowhere.png"], "there is no mask"),
        (["--compare", "75,many"], "not '75,many'"),
        (["--compare", "75,100"], "not '75,100'"),
        (["-n", 0], "1 or more"),
        (["--temperature", -1], "temperature"),
        (["-o", "sheet.jpg"], ".png or .npy"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(run, words, line, capsys):
    code, _, err = run_complete(capsys, run, *words)
    assert code == 2
    assert line in err
    assert len(err.strip().splitlines()) <= 2


def test_a_family_that_cannot_names_those_that_can(tmp_path, capsys):
    out = tmp_path / "vae"
    pinxit.train("vae", "digits", out=out, steps=1, quiet=True)
    code, _, err = run_complete(capsys, out)
    assert code == 1
    assert "cannot complete; these families can: igpt, mae" in err


def test_ratios_are_per_cents_or_shares():
    assert parse_mask_ratios("75, 85,95") == (0.75, 0.85, 0.95)
    assert parse_mask_ratios("0.5") == (0.5,)


def test_columns_stand_under_their_titles():
    png = columns_with_titles([("truth", blobs(2)), ("a much longer title", blobs(2, seed=1))])
    with Image.open(io.BytesIO(png)) as image:
        assert image.height > 2 * 80
        assert image.width > 2 * 100
