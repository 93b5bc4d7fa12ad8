"""What an evaluation holds in memory does not grow with the number of images."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.console import StageProgress
from pinxit.data.images import Images
from pinxit.evaluation import (
    evaluator,
    explain,
    feature_space,
    linear_probe,
    memorisation,
)
from pinxit.evaluation.evaluator import Evaluator
from pinxit.evaluation.explain import Explainer
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.trials import TrialRunner

SIDE, CHANNELS = 32, 3
IMAGE_BYTES = SIDE * SIDE * CHANNELS
MAX_SHARE = 0.2  # of the pixels of the images that are added: names, labels and features


def make_images(count: int) -> Images:
    """Images of noise: half of them for training, a quarter for validation, a quarter to test."""
    rng = np.random.default_rng(0)
    return Images(
        rng.integers(0, 256, (count, SIDE, SIDE, CHANNELS), dtype=np.uint8),
        names=[f"{i}" for i in range(count)],
        labels=np.arange(count) % 3,
        label_names=("a", "b", "c"),
        splits=np.array([0, 1, 0, 2], np.int8)[np.arange(count) // 3 % 4],
    )


class MeanColor:
    """A fake model whose features are the mean color of an image."""

    label_conditional = True
    eight_bit = True
    likelihood_description = "none"
    likelihood_is_exact = True
    max_scored_images = None
    info = make_images(12).info()

    def score(self, images, *, samples=1, seed=0):
        return self.embed(images).sum(1)

    def embed(self, images):
        return np.asarray(images.pixels).mean((1, 2)).astype(np.float32)


def measure_peak(action) -> int:
    """The largest number of bytes of Python and NumPy that an action holds at a time."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def build_evaluator(images: Images) -> Evaluator:
    options = EvalOptions(probe_train_size=32, max_images=32, average_labels=True)
    return Evaluator(MeanColor(), images, options, StageProgress(False))


def select_test(images: Images) -> None:
    measured = build_evaluator(images)
    assert len(measured.test) == 32


def count_labels(images: Images) -> None:
    probs = build_evaluator(images).likelihood_stages.label_probs
    assert probs == pytest.approx([1 / 3] * 3)


def probe(images: Images) -> None:
    measured = build_evaluator(images)
    assert "probe_accuracy" in dict(measured.probe(MeanColor()))
    assert measured.protocol["probe"]["training_images"] == 32


@pytest.fixture
def small_limits(monkeypatch):
    """The limits of an evaluation, so small that a few hundred images are above them."""
    for name in ("MAX_TEST_IMAGES", "MAX_VALIDATION_IMAGES"):
        monkeypatch.setattr(evaluator, name, 32)
    monkeypatch.setattr(linear_probe, "MIN_VALIDATION_IMAGES", 32)
    monkeypatch.setattr(linear_probe, "C_VALUES", (1.0,))


def check_growth(action) -> None:
    """Check that an action on 8 times the images holds hardly more."""
    few, many = make_images(192), make_images(1_536)
    action(few)  # fills caches
    growth = measure_peak(lambda: action(many)) - measure_peak(lambda: action(few))
    assert growth < MAX_SHARE * IMAGE_BYTES * (len(many) - len(few))


@pytest.mark.parametrize("stage", [select_test, count_labels, probe])
def test_an_evaluation_holds_no_more_of_many_more_images(stage, small_limits):
    check_growth(stage)


def test_the_key_of_a_feature_space_reads_a_batch_at_a_time(monkeypatch):
    monkeypatch.setattr(feature_space, "EMBED_BATCH", 32)
    check_growth(lambda images: feature_space._cache_key(images, images.split_indices("train")))


def test_explain_and_its_trials_hold_no_more_of_many_more_images(monkeypatch):
    monkeypatch.setattr(explain, "MAX_PIXEL_VALUES", 32 * IMAGE_BYTES)
    monkeypatch.setattr(explain, "MIN_TEST_IMAGES", 32)
    model, progress, run = MeanColor(), StageProgress(False), Any

    def select(images: Images) -> None:
        assert len(Explainer(model, images, progress).test) == 32
        trials = TrialRunner(run, model, images, images, None, {}, 1, 32, progress)
        assert len(trials._split("validation")) == 32

    check_growth(select)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1_000), st.integers(4, 60), st.integers(1, 70), st.integers(1, 8))
def test_nearest_distances_do_not_depend_on_the_parts(seed, count, part, k):
    rng = np.random.default_rng(seed)
    train, queries = (rng.integers(0, 4, (n, 3)).astype(np.float32) for n in (count, 9))
    k = min(k, count - 1)
    at_once = memorisation.nearest_distances(train, queries, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memorisation, "TRAIN_PART", part)
        in_parts = memorisation.nearest_distances(train, queries, k)
    assert in_parts.shape == (9, k)
    assert np.allclose(in_parts, at_once, atol=1e-5)
