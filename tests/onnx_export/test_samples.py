"""The images on which an export is compared, and those that its int8 ranges are from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.onnx_export.images import NUM_IMAGES, divide_rows, read_samples
from pinxit.runs import Run
from tests.builders import build_vae, noise_images

SPLIT_LISTS = st.lists(st.integers(NO_SPLIT, len(SPLITS) - 1), min_size=1, max_size=12)


@given(splits=SPLIT_LISTS, has_splits=st.booleans())
def test_what_is_compared_calibrated_nothing(splits, has_splits):
    pixels = np.zeros((len(splits), 1, 1, 1), np.uint8)
    images = Images(pixels, splits=np.array(splits, np.int8) if has_splits else None)
    compared, calibration = divide_rows(images)
    assert len(compared)
    assert len(calibration)
    if len(images) == 1:
        assert compared.tolist() == calibration.tolist() == [0]
        return
    assert not set(compared.tolist()) & set(calibration.tolist())
    if has_splits and {0, 1} <= set(splits):
        assert set(images.splits[compared].tolist()) == {1}
        assert set(images.splits[calibration].tolist()) == {0}


@given(n=st.integers(2, 200))
def test_batches_of_both_are_of_other_images(n):
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    samples = read_samples(Run("none"), build_vae(), Images(pixels))
    compared, calibration = (
        {int(image[0, 0, 0]) for image in batch.pixels}
        for batch in (samples.compared, samples.calibration)
    )
    assert not compared & calibration
    assert len(samples.compared) == len(samples.calibration) == NUM_IMAGES


def test_one_image_is_said_to_be_both():
    samples = read_samples(Run("none"), build_vae(), noise_images(1, 8, 8))
    assert "the ranges of int8 are from it, too" in samples.description
