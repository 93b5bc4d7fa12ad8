"""`pinxit complete` for every family with that ability, and each way to choose a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import main
from pinxit.data.images import Images
from pinxit.models import get_family, list_families
from tests.builders import blobs

FAMILIES = [name for name in list_families() if "complete" in get_family(name).ABILITIES]


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, tmp_path_factory) -> Path:
    """The folder of a run of 2 steps on 8 x 8 digits."""
    out = tmp_path_factory.mktemp("runs") / request.param
    config = get_family(request.param).Config()
    return pinxit.train(config, "digits", out=out, steps=2, batch_size=16, quiet=True).path


@pytest.fixture
def image(tmp_path) -> Path:
    """An image file of 8 x 8 pixels."""
    return blobs(1).save(tmp_path / "blob.png")


def read_pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_two_families_complete_images():
    assert {"mae", "igpt"} <= set(FAMILIES)


def test_the_default_mask_suits_the_family(run, run_pinxit):
    lines = run_pinxit("complete", run, "-n", 3)
    assert "3 images" in lines[0]
    assert read_pixels(lines[-1]).std() > 5


@pytest.mark.parametrize(
    "mask", [["--ratio", 0.5], ["--half", "left"], ["--box", 2, 2, 4, 4]], ids=lambda mask: mask[0]
)
def test_visible_pixels_are_kept(run, mask, image, tmp_path, run_pinxit):
    out = tmp_path / "completed.npy"
    run_pinxit("complete", run, image, *mask, "-o", out)
    completed, original = np.load(out), blobs(1).pixels
    assert completed.shape == original.shape
    changed = (completed != original).any(-1).mean()
    assert changed <= {"--ratio": 0.5, "--half": 0.5, "--box": 16 / 64}[mask[0]]


def test_a_mask_of_another_size_is_resized_with_a_note(run, image, tmp_path, capsys):
    white = np.zeros((1, 16, 16, 1), np.uint8)
    white[:, 8:] = 255
    mask = Images(white).save(tmp_path / "mask.png")
    out = tmp_path / "completed.npy"
    assert main(["complete", *map(str, (run, image, "--mask", mask, "-o", out))]) == 0
    assert "the mask is 16 x 16; resized to 8 x 8." in capsys.readouterr().err
    assert np.array_equal(np.load(out)[0, :4], blobs(1).pixels[0, :4])


def test_compare_shows_two_columns_for_each_mask_ratio(run, run_pinxit):
    lines = run_pinxit("complete", run, "--compare", "75,85,95", "-n", 2)
    assert "compare-75-85-95" in lines[-1]
    assert read_pixels(lines[-1]).shape[1] > 7 * 64


def test_the_same_seed_gives_the_same_sheet(run, tmp_path, run_pinxit):
    for name in ("a.png", "b.png"):
        several = [] if run.name == "mae" else ["--completions", 2]
        words = ["-n", 2, *several, "--seed", 5, "-o", tmp_path / name]
        run_pinxit("complete", run, *words)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_completions_with_other_options_are_other_files(run, run_pinxit):
    options = [(), ("--seed", 1), ("--only-completions",), ("--ratio", 0.5), ("--half", "lower")]
    if run.name != "mae":
        options += [("--completions", 2), ("--completions", 2, "--only-completions")]
    if run.name == "igpt":
        options += [("--temperature", 0.5), ("--top-k", 3), ("--top-p", 0.5)]
    paths = [run_pinxit("complete", run, "-n", 1, *words)[-1] for words in options]
    default_mask = {"igpt": "--half lower"}.get(run.name)
    assert len(set(paths)) == len(paths) - (default_mask is not None)


@pytest.mark.parametrize("suffix", [".NPY", ".Png"])
def test_a_suffix_in_capitals_is_that_in_small_letters(run, suffix, tmp_path, run_pinxit):
    paths = [tmp_path / f"{k}{name}" for k, name in enumerate((suffix, suffix.lower()))]
    for path in paths:
        run_pinxit("complete", run, "-n", 1, "-o", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--ratio", 1.2], "between 0 and 1"),
        (["--ratio", 0], "between 0 and 1"),
        (["--ratio", 0.5, "--half", "left"], "--half and --ratio cannot be combined"),
        (["--box", 5, 5, 9, 9], "is not inside"),
        (["--mask", "nowhere.png"], "there is no mask"),
        (["--compare", "75,many"], "not '75,many'"),
        (["--compare", "75,100"], "not '75,100'"),
        (["--compare", "75", "85"], "--compare takes one list: --compare 75,85"),
        (["--ratio", "75"], "--ratio must be between 0 and 1, not 75. Did you mean 0.75?"),
        (["--ratio", "1"], "--ratio must be between 0 and 1, not 1."),
        (["--ratio", "0"], "--ratio must be between 0 and 1, not 0."),
        (["--compare", "75", "--completions", 4], "--compare is one sheet of several mask ratios"),
        (["--compare", "75", "--only-completions"], "without --only-completions"),
        (["--compare", "75", "-o", "x.npy"], "without --out *.npy"),
        (["-n", 0], "1 or more"),
        (["--temperature", -1], "temperature"),
        (["-o", "sheet.svg"], ".webp or .npy"),
    ],
)
def test_invalid_options_are_errors_of_two_lines_at_most(run, words, text, capsys):
    assert main(["complete", str(run), *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.strip().splitlines()) <= 2


def test_several_completions_that_would_be_equal_are_refused(run, fail):
    words = ["complete", run, "--completions", 2]
    assert "above 0 for several" in fail(*words, "--temperature", 0)
    if run.name == "mae":
        assert "in one way only" in fail(*words)
        assert "does not use --temperature" in fail("complete", run, "--temperature", 3)


def test_the_error_for_another_family_names_those_that_complete(tmp_path, capsys):
    out = tmp_path / "vae"
    pinxit.train("vae", "digits", out=out, steps=1, quiet=True)
    assert main(["complete", str(out)]) == 1
    assert "cannot complete; these families can: flow, igpt, mae" in capsys.readouterr().err
