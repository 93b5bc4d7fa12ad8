"""Names, groups and order of metrics."""

from __future__ import annotations

import math

import pytest

from pinxit.evaluation.metrics import (
    CURVES,
    METRICS,
    collect,
    get_metric,
    group_metrics,
    proportion,
    sort_metric_names,
)


def test_collect_separates_metrics_from_curves():
    metrics, curves = collect([("elbo", 1), ("kl_per_latent", [1, 2]), ("psnr", 2.0)])
    assert metrics == {"elbo": 1.0, "psnr": 2.0}
    assert curves == {"kl_per_latent": [1.0, 2.0]}
    assert [group for group, _ in group_metrics(metrics)] == ["likelihood", "reconstruction"]
    assert not set(CURVES) & set(METRICS)


def test_metrics_by_language_are_sorted_and_errors_are_left_out():
    names = [
        "bleu:fr",
        "psnr",
        "bleu:en",
        "caption_recall_at_1:fr_error",
        "t2i_exact_error",
        "unknown",
    ]
    assert sort_metric_names(names) == ["psnr", "bleu:fr", "bleu:en"]
    assert get_metric("bleu:fr").title == "BLEU (fr)"
    assert [group for group, _ in group_metrics(names)] == ["reconstruction", "captions"]


def test_metrics_of_a_group_have_different_titles_or_units():
    shown = [(metric.group, metric.title, metric.unit) for metric in METRICS.values()]
    assert len(set(shown)) == len(shown)


def test_a_proportion_has_a_binomial_standard_error():
    values = dict(proportion("x", [True, False, False, False]))
    assert values == {"x": 0.25, "x_error": pytest.approx(math.sqrt(0.25 * 0.75 / 4))}


def test_metrics_of_opposite_direction_have_different_titles():
    shown = {(metric.group, metric.title, metric.better) for metric in METRICS.values()}
    titles = {(group, title) for group, title, _ in shown}
    assert len(titles) == len(shown)
    for name, metric in METRICS.items():
        if name.endswith("_bits_per_dim"):
            assert metric.title.startswith("negative "), name
