"""`load_images`: the size, color and limit it chooses, and the metadata it keeps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pinxit
from pinxit.data.load import load_images
from pinxit.data.selection import make_unique
from pinxit.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    def write(sizes, grey=False):
        for i, (height, width) in enumerate(sizes):
            channels = () if grey else (3,)
            pixels = np.random.default_rng(i).integers(0, 256, (height, width, *channels), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{i:04d}.png")
        return str(tmp_path)

    return write


def load(source, **settings):
    return load_images(source, progress=False, **settings)


def test_loading_images_returns_them_unchanged():
    digits = load("digits")
    assert pinxit.load_images(digits) is digits
    with pytest.raises(UsageError, match="size is an option of loading a source"):
        pinxit.load_images(digits, size=99)


def test_images_of_one_size_keep_it(folder):
    assert load(folder([(20, 30)] * 3)).pixels.shape == (3, 20, 30, 3)


def test_images_of_several_sizes_are_resized_with_a_note(folder, capsys):
    root = folder([(90, 50), (50, 80), (110, 45)])
    images = load_images(root)
    assert images.pixels.shape == (3, 32, 32, 3)
    assert images.notes == (
        "images from 80 x 50 to 45 x 110 are resized to 32 x 32; choose another size with --size",
    )
    assert "resized to 32 x 32" in capsys.readouterr().err
    assert load(root, size="48x24").pixels.shape == (3, 24, 48, 3)
    assert load(root, size=48).notes == ()


def test_grey_is_chosen_if_all_images_are_grey(folder, tmp_path):
    root = folder([(8, 8)] * 4, grey=True)
    assert load(root).channels == 1
    assert load(root, color="rgb").channels == 3
    Image.new("RGB", (8, 8), (90, 100, 110)).save(tmp_path / "tinted.png")
    assert load(root).channels == 3
    assert load(root, color="grey").channels == 1


def test_splits_do_not_depend_on_size_color_or_limit(folder):
    root = folder([(8, 8)] * 60)
    images = load(root)
    splits = dict(zip(images.names, images.splits.tolist(), strict=True))
    for settings in ({"size": 16}, {"color": "grey"}, {"limit": 25}):
        other = load(root, **settings)
        assert dict(zip(other.names, other.splits.tolist(), strict=True)).items() <= splits.items()


def test_a_limit_selects_by_seed_and_a_larger_one_adds_images(folder):
    root = folder([(8, 8)] * 40)
    ten, twenty = load(root, limit=10), load(root, limit=20)
    assert len(ten) == 10
    assert set(ten.names) < set(twenty.names)
    assert list(ten.names) == sorted(ten.names)
    assert set(load(root, limit=10, data_seed=1).names) != set(ten.names)
    assert len(load(root, limit=999)) == 40


def test_names_captions_and_pixels_match_when_images_are_skipped(folder, tmp_path):
    root = folder([(8, 8)] * 300)
    unreadable = [0, 63, 64, 199, 299]
    for i in unreadable:
        (tmp_path / f"{i:04d}.png").write_bytes(b"bad")
    for i in range(300):
        (tmp_path / f"{i:04d}.txt").write_text(f"number {i}")
    images = load(root)
    readable = [i for i in range(300) if i not in unreadable]
    assert list(images.names) == [f"{i:04d}.png" for i in readable]
    assert images.captions["und"] == [f"number {i}" for i in readable]
    assert [file.name for file in images.skipped] == [f"{i:04d}.png" for i in unreadable]
    for row, i in ((0, 1), (100, readable[100]), (294, 298)):
        expected = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        assert (images.pixels[row] == expected).all()


@given(st.lists(st.sampled_from(["a", "a#2", "b"]), max_size=8))
def test_duplicate_names_are_made_unique_and_the_first_keeps_its_name(names):
    unique = make_unique(list(names))
    assert len(set(unique)) == len(unique)
    assert set(names) <= set(unique)


def test_loading_imports_no_torch():
    code = "import sys, pinxit; pinxit.load_images('digits'); print('torch' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "False"
