"""Error of completed images, and what features know of labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.data.masks import half_mask
from pinxit.evaluation.inpainting import fill_with_mean, inpainting_metrics, missing_pixel_mse
from pinxit.evaluation.linear_probe import (
    knn_accuracy,
    probe_accuracy,
    probe_metrics,
    select_labelled,
)
from tests.builders import blobs


class Completer:
    """Completes every missing pixel by so much brighter than it is."""

    left_to_right = False
    patch_size = 2

    def __init__(self, wrong: int) -> None:
        self.wrong = wrong

    def complete(self, images, missing, *, seed=0, temperature=1.0):
        raised = np.minimum(images.pixels.astype(int) + self.wrong, 255).astype(np.uint8)
        pixels = np.where(missing[..., None], raised, images.pixels)
        return dataclasses.replace(images, pixels=pixels)


def test_the_error_is_of_the_missing_pixels_alone():
    dark = dataclasses.replace(blobs(), pixels=blobs().pixels // 2)
    found = dict(inpainting_metrics(Completer(51), dark))
    for ratio in (50, 75, 85, 95):
        assert found[f"masked_mse_{ratio}"] == pytest.approx(0.2**2, rel=1e-5)
    assert dict(inpainting_metrics(Completer(0), dark))["masked_mse_75"] == 0


def test_a_model_that_paints_left_to_right_is_judged_by_the_lower_half():
    model = Completer(51)
    model.left_to_right = True
    found = dict(inpainting_metrics(model, blobs()))
    assert set(found) == {"masked_mse_half", "masked_mse_mean_fill"}


def test_the_yardstick_is_the_mean_of_what_is_left():
    images = blobs(2)
    missing = half_mask(images, "lower")
    made = fill_with_mean(images, missing)
    for i in range(2):
        assert (made[i, 4:] == round(float(images.pixels[i, :4].mean()))).all()
    loop = [
        (float(a) - float(b)) ** 2
        for a, b in zip(images.pixels[missing].ravel(), made[missing].ravel(), strict=True)
    ]
    assert missing_pixel_mse(images, made, missing) == pytest.approx(
        np.mean(loop) / 255**2, rel=1e-5
    )


def two_groups(n, random, apart):
    labels = random.integers(0, 2, n)
    features = random.normal(size=(n, 5)).astype(np.float32)
    features[:, 2] += apart * labels
    return features, labels.astype(np.int64)


def test_probe_and_neighbours_tell_what_can_be_told_and_no_more():
    random = np.random.default_rng(0)
    for accuracy in (probe_accuracy, knn_accuracy):
        assert accuracy(*two_groups(400, random, 9), *two_groups(400, random, 9)) > 0.9
        assert 0.35 < accuracy(*two_groups(400, random, 0), *two_groups(400, random, 0)) < 0.65


class Embedder:
    def embed(self, images):
        return self.hidden_states(images)[-1]

    def hidden_states(self, images):
        """The second layer knows the labels, the others nothing."""
        random = np.random.default_rng(len(images))
        noise = random.normal(size=(3, len(images), 4)).astype(np.float32)
        noise[1, :, 0] += 20 * images.labels
        return noise


def test_the_probe_by_depth_finds_the_layer_that_knows():
    images = blobs(400)
    found = dict(probe_metrics(Embedder(), images.split("train"), images.split("test")))
    assert found["probe_layer"] == 1
    assert found["probe_accuracy"] == found["probe_by_layer"][1] > 0.95
    assert max(found["probe_by_layer"][0], found["probe_by_layer"][2]) < 0.6
    assert found["probe_train_images"] == 200


def test_without_two_classes_there_is_no_probe():
    images = blobs()
    assert select_labelled(dataclasses.replace(images, labels=None), 5) is None
    assert select_labelled(dataclasses.replace(images, labels=images.labels * 0), 5) is None
    some = dataclasses.replace(images, labels=np.where(images.labels == 0, -1, images.labels))
    assert (select_labelled(some, None).labels > 0).all()
