"""Error of completed images, over the masked pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.data.masks import half_mask
from pinxit.evaluation.inpainting import fill_with_mean, inpainting_metrics, masked_mse
from tests.builders import blobs, values_of


class BrighteningCompleter:
    """Completes every masked pixel with its true value plus a constant."""

    left_to_right = False
    patch_size = 2

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def complete(self, images, mask, *, seed=0, temperature=1.0):
        raised = np.minimum(images.pixels.astype(int) + self.offset, 255).astype(np.uint8)
        pixels = np.where(mask[..., None], raised, images.pixels)
        return dataclasses.replace(images, pixels=pixels)


def test_the_error_is_over_the_masked_pixels_only():
    dark = dataclasses.replace(blobs(), pixels=blobs().pixels // 2)
    metrics = values_of(inpainting_metrics(BrighteningCompleter(51), dark))
    for ratio in (50, 75, 85, 95):
        assert metrics[f"masked_mse_{ratio}"] == pytest.approx(0.2**2, rel=1e-5)
    assert values_of(inpainting_metrics(BrighteningCompleter(0), dark))["masked_mse_75"] == 0


def test_a_left_to_right_model_completes_the_lower_half():
    model = BrighteningCompleter(51)
    model.left_to_right = True
    metrics = values_of(inpainting_metrics(model, blobs()))
    names = {"masked_mse_half", "masked_mse_mean_fill"}
    assert set(metrics) == names | {f"{name}_error" for name in names}


def test_the_baseline_is_the_mean_of_the_visible_pixels():
    images = blobs(2)
    mask = half_mask(images, "lower")
    filled = fill_with_mean(images, mask)
    for i in range(2):
        assert (filled[i, 4:] == round(float(images.pixels[i, :4].mean()))).all()
    squares = [
        (float(a) - float(b)) ** 2
        for a, b in zip(images.pixels[mask].ravel(), filled[mask].ravel(), strict=True)
    ]
    expected = np.mean(squares) / 255**2
    assert masked_mse(images, filled, mask).value == pytest.approx(expected, rel=1e-5)
