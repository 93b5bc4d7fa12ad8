"""Resizing: pixel art keeps its hard edges, everything else is resized as before."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from pinxit.data.decoding.resize import resize_to_fit
from pinxit.data.load import load_images
from tests.data.test_decode import encode

COLORS = np.array([(200, 30, 30), (30, 30, 90), (240, 240, 100)], np.uint8)


def sprite(side: int = 16, seed: int = 0, colors: int = 2) -> np.ndarray:
    return COLORS[np.random.default_rng(seed).integers(0, colors, (side, side))]


def enlarge(pixels: np.ndarray, factor: int) -> np.ndarray:
    return pixels.repeat(factor, 0).repeat(factor, 1)


def resize(pixels: np.ndarray, height: int, width: int, fit="crop", resample="auto") -> np.ndarray:
    return np.asarray(resize_to_fit(Image.fromarray(pixels), height, width, fit, resample))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_pixel_art_keeps_its_pixels_at_whole_factors(fit, factor):
    art = sprite(colors=3)
    assert (resize(enlarge(art, factor), 16, 16, fit) == art).all()
    assert (resize(art, 16 * factor, 16 * factor, fit) == enlarge(art, factor)).all()
    large = enlarge(art, 2 * factor)
    assert (resize(enlarge(art, 2), 32 * factor, 32 * factor, fit) == large).all()


def test_pixel_art_in_a_wider_image_is_cropped_first():
    art = sprite(20, colors=3)
    expected = art[2:18]  # the middle
    assert (resize(enlarge(art, 4)[8:72], 16, 16) == expected[:, 2:18]).all()
    assert (resize(art[2:18], 32, 32) == enlarge(art[2:18, 2:18], 2)).all()


@pytest.mark.parametrize("size", [16, 32, 128])
@pytest.mark.parametrize("kind", ["noise", "smooth", "mostly white"])
def test_photos_are_resized_smoothly(size, kind):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
    if kind == "smooth":
        y, x = np.mgrid[:64, :64]
        pixels = np.stack([2 * x, 2 * y, x + y], -1).astype(np.uint8)
    elif kind == "mostly white":
        pixels[:50] = 255
    filter_ = Resampling.BICUBIC if size > 64 else Resampling.LANCZOS
    expected = Image.fromarray(pixels).resize((size, size), filter_, reducing_gap=3.0)
    assert (resize(pixels, size, size) == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("resample", "filter_"),
    [
        ("nearest", Resampling.NEAREST),
        ("area", Resampling.BOX),
        ("lanczos", Resampling.LANCZOS),
    ],
)
def test_the_filter_can_be_chosen(tmp_path, resample, filter_):
    pixels = sprite(48)
    (tmp_path / "a.png").write_bytes(encode(Image.fromarray(pixels)))
    loaded = load_images(str(tmp_path), progress=False, cache=False, size=20, resample=resample)
    assert (loaded.pixels[0] == np.asarray(Image.fromarray(pixels).resize((20, 20), filter_))).all()
    assert loaded.conversion["resample"] == resample


def test_the_handwritten_digits_are_no_pixel_art():
    digits = load_images("digits", progress=False, limit=200)
    smooth = [
        np.asarray(Image.fromarray(image[..., 0]).resize((16, 16), Resampling.BICUBIC))
        for image in digits.pixels
    ]
    larger = load_images("digits", progress=False, limit=200, size=16)
    assert (larger.pixels[..., 0] == np.stack(smooth)).all()
