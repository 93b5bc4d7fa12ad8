"""File formats as a reference for bits per dimension."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pinxit.evaluation.compression import (
    FORMATS,
    IMAGES_PER_STRIP,
    compression_metrics,
    encode,
    stack_images,
)
from pinxit.evaluation.runner import evaluate
from tests.builders import blobs, constant, make_run


@given(n=st.integers(1, 70), height=st.sampled_from([1, 5, 700]), channels=st.sampled_from([1, 3]))
def test_strips_hold_each_image_once_and_in_order(n, height, channels):
    pixels = np.arange(n * height * channels, dtype=np.uint32).reshape(n, height, 1, channels)
    strips = stack_images(pixels)
    assert np.array_equal(np.concatenate(strips).reshape(pixels.shape), pixels)
    counts = [len(strip) // height for strip in strips]
    assert max(counts) - min(counts) <= 1
    assert max(counts) <= IMAGES_PER_STRIP
    assert max(map(len, strips)) <= 16_383


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_files_hold_the_pixels_without_loss(name, channels):
    strip = np.random.default_rng(0).integers(0, 256, (64, 9, channels), np.uint8)
    with Image.open(io.BytesIO(encode(strip, FORMATS[name]))) as image:
        read = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(strip.shape)
    assert np.array_equal(read, strip)


def test_noise_takes_its_entropy_and_one_color_next_to_nothing():
    images = blobs(64, height=32, width=32)
    rng = np.random.default_rng(0)
    noise = type(images)(rng.integers(0, 256, images.pixels.shape, np.uint8))
    assert all(8 <= value.value < 8.3 for _, value in compression_metrics(noise))
    assert all(value.value < 0.1 for _, value in compression_metrics(constant(images)))


def test_the_error_is_over_strips_and_unknown_for_one():
    metrics = dict(compression_metrics(blobs(64)))
    assert all(value.error > 0 for value in metrics.values())
    assert all(math.isnan(value.error) for _, value in compression_metrics(blobs(16)))


@pytest.mark.parametrize(
    ("options", "expected"), [({}, True), ({"likelihood": "bernoulli"}, False)]
)
def test_an_evaluation_has_them_beside_bits_per_dimension_only(options, expected, tmp_path):
    images = blobs()
    run = make_run(tmp_path / "run", images, steps=5, **options)
    record = evaluate(run, images, iw_samples=0, distances=False, progress=False)
    assert ("elbo_bits_per_dim" in record["metrics"]) is expected
    assert ("png_bits" in record["metrics"]) is expected
    assert ("webp_bits" in record["metrics"]) is expected
