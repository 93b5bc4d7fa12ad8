"""Differences of two evaluations: paired by image, or as of independent samples."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.evaluation.differences import Evaluation, read_evaluation, subtract_metrics
from pinxit.evaluation.estimates import (
    Estimate,
    estimate_from_sums,
    estimate_mean,
    estimate_over,
)
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.per_image import (
    PerImage,
    collect_per_image,
    per_image_file,
    read_per_image,
    write_per_image,
)
from pinxit.evaluation.protocol_differences import protocol_warnings
from pinxit.runs import Run

PROTOCOL = {"fingerprint": "abc", "split": "test"}


def make_images(n: int, groups=None) -> Images:
    pixels = np.zeros((n, 2, 2, 1), np.uint8)
    return Images(pixels, names=[f"image {i}" for i in range(n)], groups=groups)


def make_evaluation(images: Images, protocol=PROTOCOL, **values) -> Evaluation:
    """An evaluation with the mean of the given values of each image."""
    collected = collect((name, estimate_over(images, array)) for name, array in values.items())
    table = collect_per_image(collected.estimates, images)
    return Evaluation(collected.metrics, protocol, table)


def test_the_difference_on_the_same_images_is_paired():
    rng = np.random.default_rng(0)
    images, hard = make_images(200), rng.normal(0, 10, 200)
    a = make_evaluation(images, elbo=hard + rng.normal(1, 0.5, 200))
    b = make_evaluation(images[::-1], elbo=(hard + rng.normal(0, 0.5, 200))[::-1])
    difference = subtract_metrics(a, b, "elbo")
    assert difference is not None
    assert difference.value == pytest.approx(1, abs=0.2)
    assert difference.error == pytest.approx(0.5 * math.sqrt(2 / 200), rel=0.2)
    assert (difference.paired, difference.images, difference.significant) == (True, 200, True)
    assert difference.low < 1 < difference.high
    other_data = make_evaluation(images, {"fingerprint": "xyz"}, elbo=hard)
    unpaired = subtract_metrics(a, other_data, "elbo")
    assert unpaired is not None
    assert unpaired.error == pytest.approx(10 * math.sqrt(2 / 200), rel=0.2)
    assert (unpaired.paired, unpaired.images, unpaired.significant) == (False, None, False)


def test_images_that_one_run_did_not_measure_are_not_paired():
    images = make_images(20)
    values = np.arange(20.0)
    whole, half = (
        make_evaluation(images, elbo=values),
        make_evaluation(images[:10], elbo=values[:10]),
    )
    difference = subtract_metrics(whole, half, "elbo")
    assert difference is not None
    assert not difference.paired
    assert subtract_metrics(whole, make_evaluation(images, psnr=values), "elbo") is None


def test_an_unknown_error_gives_no_interval():
    a = Evaluation({"elbo": 1.0, "elbo_error": None}, PROTOCOL, PerImage([], None, {}))
    b = Evaluation({"elbo": 3.0, "elbo_error": 0.5}, PROTOCOL, PerImage([], None, {}))
    difference = subtract_metrics(a, b, "elbo")
    assert difference is not None
    assert difference.value == -2
    assert difference.low is difference.high is difference.error is None
    assert not difference.significant


def test_equal_proportions_are_not_surely_equal():
    images, right = make_images(50), np.ones(50)
    a, b = (make_evaluation(images, probe_accuracy=right, mse=0 * right) for _ in range(2))
    assert subtract_metrics(a, b, "probe_accuracy").error == pytest.approx(0.027, abs=0.002)
    assert subtract_metrics(a, b, "mse").error == 0


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_paired_difference_is_the_mean_of_the_differences(seed, grouped, reverse):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 40))
    groups = rng.integers(0, 5, n) if grouped else None
    values, others = rng.normal(0, 1, (2, n))
    images = make_images(n, groups)
    a = make_evaluation(images, elbo=values)
    b = (
        make_evaluation(images[::-1], elbo=others[::-1])
        if reverse
        else make_evaluation(images, elbo=others)
    )
    difference, expected = subtract_metrics(a, b, "elbo"), estimate_mean(values - others, groups)
    assert difference is not None
    assert difference.value == pytest.approx(expected.value)
    if math.isnan(expected.error):
        assert difference.error is None
    else:
        assert difference.error == pytest.approx(expected.error)
    opposite = subtract_metrics(b, a, "elbo")
    assert opposite is not None
    assert opposite.value == pytest.approx(-difference.value)


@given(st.integers(0, 2**32 - 1), st.floats(-1e4, 1e4), st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_values_that_are_not_those_of_the_metric_are_not_paired(seed, mean, scale):
    """A kill between two writes leaves the values of an earlier evaluation beside a new metric."""
    rng = np.random.default_rng(seed)
    images = make_images(30)
    ratio = estimate_from_sums(lambda s: s[:, 0] / s[:, 1], rng.uniform(1, 2, (30, 2)))
    values = {"elbo": estimate_over(images, rng.normal(mean, scale, 30)),
              "masked_mse_half": dataclasses.replace(ratio, names=images.names)}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        write_per_image(run.path / per_image_file("test"), collect_per_image(values, images))
        table = read_per_image(run, "test")
    metrics = collect(values.items()).metrics
    a = Evaluation(metrics, PROTOCOL, table)
    b = make_evaluation(images, **dict.fromkeys(values, rng.normal(0, 1, 30)))
    shift = 0.001 * (scale + abs(mean))
    newer = Evaluation({**metrics, "elbo": metrics["elbo"] + shift}, PROTOCOL, table)
    for name in values:
        assert subtract_metrics(a, b, name).paired
        assert subtract_metrics(b, a, name).paired
        assert subtract_metrics(newer, b, name).paired == (name != "elbo")
        assert subtract_metrics(b, newer, name).paired == (name != "elbo")


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_of_paired_differences_hold_the_true_one(grouped):
    rng, hits = np.random.default_rng(1), 0
    groups = np.repeat(np.arange(12), 4) if grouped else None
    images = make_images(48, groups)
    for _ in range(200):
        shared = rng.normal(0, 1, 12)[np.repeat(np.arange(12), 4)]
        a = make_evaluation(images, elbo=2 + (1 + grouped) * shared + rng.normal(0, 1, 48))
        b = make_evaluation(images, elbo=shared + rng.normal(0, 1, 48))
        difference = subtract_metrics(a, b, "elbo")
        hits += difference.low <= 2 <= difference.high
    assert 0.90 <= hits / 200 <= 0.99


def test_values_of_images_are_read_as_they_were_written(tmp_path):
    run = Run(tmp_path)
    images = make_images(5, groups=np.array([3, 3, 1, 2, 2]))
    estimates = {
        "elbo": estimate_over(images, np.arange(5.0)),
        "ssim": estimate_over(images[1:3], np.array([0.5, 0.25])),
        "frechet_samples": Estimate(1.0, 0.1),
        "of generated images": estimate_mean(np.arange(5.0)),
    }
    write_per_image(run.path / per_image_file("test"), collect_per_image(estimates, images))
    table = read_per_image(run, "test")
    assert table.names == list(images.names)
    assert table.groups.tolist() == images.groups.tolist()
    assert set(table.values) == {"elbo", "ssim"}
    assert table.values["elbo"].tolist() == [0, 1, 2, 3, 4]
    assert table.values["ssim"].tolist() == pytest.approx(
        [math.nan, 0.5, 0.25, *[math.nan] * 2], nan_ok=True
    )
    assert read_per_image(run, "validation").values == {}
    assert per_image_file("validation") == "evaluation-images-validation.csv"
    write_per_image(run.path / per_image_file("test"), collect_per_image({}, images))
    assert not (tmp_path / "evaluation-images.csv").exists()
    assert read_evaluation(run, "test").metrics == {}


def test_each_difference_of_the_protocols_is_named():
    a = {"split": "test", "fingerprint": "abc", "date": "1", "versions": {"torch": "2.13"}}
    a |= {"likelihood": "bernoulli", "feature_space": {"weights_hash": "x", "accuracy": 1}}
    b = a | {"split": "validation", "date": "2", "versions": {"torch": "2.14"}}
    b |= {"likelihood": "gaussian", "feature_space": {"weights_hash": "y", "accuracy": 0}}
    assert list(protocol_warnings({"a": a, "b": b, "c": b})) == [
        "measured differently, split: test (a); validation (b, c)",
        "measured differently, versions torch: 2.13 (a); 2.14 (b, c)",
        "measured differently, likelihood: bernoulli (a); gaussian (b, c)",
        "measured differently, feature space: x (a); y (b, c)",
    ]
    assert not list(
        protocol_warnings({"a": a, "b": {**a, "seconds": 3, "machine": {"device": "x"}}})
    )
    assert not list(protocol_warnings({"a": a, "b": {"split": "test"}}))
