"""Names, groups and order of metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pinxit.evaluation.estimates import Curve, Estimate
from pinxit.evaluation.metrics import (
    CURVES,
    METRICS,
    Axis,
    Fact,
    collect,
    get_metric,
    group_metrics,
    proportion,
    sort_metric_names,
)
from tests.builders import values_of


def test_collect_separates_metrics_curves_and_facts():
    elbo = Estimate(-3.0, 0.5)
    kl = Curve(np.array([1.0, 2.0]), np.array([0.1, np.nan]))
    values = [
        ("elbo", elbo),
        ("kl_per_latent", kl),
        ("frequencies", Axis([0.1])),
        ("latents", Fact(2)),
    ]
    collected = collect(values)
    assert collected.metrics == {"elbo": -3.0, "elbo_error": 0.5}
    assert collected.curves == {
        "kl_per_latent": [1.0, 2.0],
        "kl_per_latent_error": [0.1, None],
        "frequencies": [0.1],
    }
    assert collected.facts == {"latents": 2}
    assert collected.estimates == {"elbo": elbo}
    assert [group for group, _ in group_metrics(collected.metrics)] == ["likelihood"]
    assert not set(CURVES) & set(METRICS)


@pytest.mark.parametrize("value", [3.0, 3, np.float64(3), True, [1.0], np.ones(2)])
def test_a_metric_without_an_error_is_refused(value):
    with pytest.raises(TypeError, match="'elbo' has no error"):
        collect([("elbo", value)])


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
    values = values_of(proportion("probe_accuracy", [True, False, False, False]))
    assert values["probe_accuracy"] == 0.25
    assert values["probe_accuracy_error"] == pytest.approx(math.sqrt(0.25 * 0.75 / 3))


def test_an_unknown_error_is_none():
    assert values_of(proportion("psnr", [True])) == {"psnr": 1, "psnr_error": None}


def test_metrics_of_opposite_direction_have_different_titles():
    shown = {(metric.group, metric.title, metric.better) for metric in METRICS.values()}
    titles = {(group, title) for group, title, _ in shown}
    assert len(titles) == len(shown)
    for name, metric in METRICS.items():
        if name.endswith("_bits_per_dim"):
            assert metric.title.startswith("negative "), name
