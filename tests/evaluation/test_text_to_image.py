"""Drawings of scenes against their captions."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.evaluation.editing import edit_metrics
from pinxit.evaluation.text_to_image import (
    grey_scene_warnings,
    label_accuracy_metrics,
    text_to_image_metrics,
)
from pinxit.models import build_model
from pinxit.models.seq2seq.config import Config
from tests.builders import blobs, values_of


@pytest.fixture(scope="module")
def shapes():
    return load_images("shapes:60", size=64, progress=False, cache=False)


def test_true_images_match_their_captions_and_shuffled_ones_do_not(shapes):
    true = values_of(text_to_image_metrics(Images(shapes.pixels), shapes))
    assert true["t2i_exact"] == true["t2i_reader_ceiling"] > 0.95
    shuffled = values_of(text_to_image_metrics(Images(np.roll(shapes.pixels, 1, 0)), shapes))
    assert shuffled["t2i_exact"] < 0.1
    assert shuffled["t2i_count"] > shuffled["t2i_exact"]
    assert shuffled["t2i_exact_error"] < 0.05


def test_images_that_are_not_scenes_have_no_scene_metrics():
    assert not values_of(text_to_image_metrics(blobs(), blobs()))


class OneClass:
    """Predicts label 0 for every image."""

    def predict(self, images):
        return np.zeros(len(images), np.int64)


def test_label_accuracy_counts_images_with_a_label_only():
    images = blobs(8)
    images.labels[:] = [0, 0, 0, 1, -1, -1, -1, -1]
    metrics = values_of(label_accuracy_metrics(OneClass(), images, images))
    assert metrics["sample_label_accuracy"] == metrics["real_label_accuracy"] == 0.75
    images.labels[:] = -1
    assert not values_of(label_accuracy_metrics(OneClass(), images, images))


@pytest.mark.parametrize("color", ["rgb", "grey"])
@pytest.mark.parametrize("size", [8, 16, 33])
@pytest.mark.parametrize("source", ["shapes:40", "shapes-edits:40"])
def test_scenes_of_any_color_and_size_are_measured_or_warned_of(source, size, color):
    true = load_images(source, size=size, color=color, progress=False, cache=False)
    metrics = values_of(text_to_image_metrics(Images(true.pixels), true))
    if true.before is not None:
        metrics |= values_of(edit_metrics(Images(true.pixels), true))
    assert any(name.endswith("reader_ceiling") for name in metrics) == (color == "rgb")
    model = build_model(Config(source="text", target="image"), true, np.arange(20))[0]
    assert len(list(grey_scene_warnings(model, true))) == (color == "grey")
