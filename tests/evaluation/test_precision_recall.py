"""Precision, recall, density and coverage against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation import precision_recall
from pinxit.evaluation.precision_recall import prdc_metrics


def values_of(metrics):
    return {name: estimate.value for name, estimate in metrics}


def prdc_by_loops(real, generated, k):
    """Precision, recall, density and coverage by the sums of their papers."""

    def radius(rows):
        return [sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows]

    real_radius, generated_radius = radius(real), radius(generated)
    inside = np.array(
        [[np.linalg.norm(r - g) < real_radius[i] for g in generated] for i, r in enumerate(real)]
    )
    covered = [
        any(np.linalg.norm(r - g) < generated_radius[j] for j, g in enumerate(generated))
        for r in real
    ]
    return {
        "precision": np.mean(inside.any(0)),
        "recall": np.mean(covered),
        "density": inside.sum() / (k * len(generated)),
        "coverage": np.mean(inside.any(1)),
    }


def test_prdc_metrics_equal_those_by_loops():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(40, 3)), rng.normal(0.5, 0.7, (40, 3))
    expected = prdc_by_loops(real, generated, 3)
    assert values_of(prdc_metrics(real, generated, k=3)) == pytest.approx(expected)


def test_as_many_images_are_taken_of_both_sets():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(400, 3)), rng.normal(size=(50, 3))
    rows = precision_recall.random_rows(400, 50)
    expected = prdc_by_loops(real[rows], generated, 5)
    assert values_of(prdc_metrics(real, generated)) == pytest.approx(expected)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(2, 10))
def test_images_sorted_by_label_have_the_metrics_of_shuffled_ones(seed, num_labels):
    """Of 1,000 sorted images the first 300 would lack labels: recall and coverage would drop."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, num_labels, (2, 1000)), axis=1)
    real, generated = 20 * labels[..., None] + rng.normal(size=(2, 1000, 3))
    shuffled = rng.permutation(generated)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision_recall, "MAX_NEIGHBOUR_IMAGES", 300)
        by_label, mixed = (dict(prdc_metrics(real, rows)) for rows in (generated, shuffled))
    for name, estimate in by_label.items():
        error = np.hypot(estimate.error, mixed[name].error)
        assert estimate.value == pytest.approx(mixed[name].value, abs=4 * error), name
        assert estimate.value > 0.8, name


def test_stated_errors_are_those_of_repeated_samples():
    rng = np.random.default_rng(0)
    runs = [
        dict(prdc_metrics(rng.normal(size=(200, 4)), rng.normal(0.4, 0.8, (200, 4))))
        for _ in range(40)
    ]
    for name in runs[0]:
        values, errors = ([getattr(run[name], key) for run in runs] for key in ("value", "error"))
        assert 0.7 < np.mean(errors) / np.std(values) < 2.5, name


def test_one_image_has_no_neighbourhood():
    assert list(prdc_metrics(np.zeros((1, 3)), np.zeros((5, 3)))) == []
