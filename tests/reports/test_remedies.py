"""Which remedies come first, by how long the run was trained and how its loss fell."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.evaluation.advice import list_remedies
from pinxit.evaluation.causes import find_state
from pinxit.reports import remedies as remedies_module
from pinxit.reports.context import ReportContext, load_context
from pinxit.reports.remedies import find_remedies
from pinxit.runs import Run
from pinxit.training.learning_curve import LearningCurve
from pinxit.training.trials import hash_file
from pinxit.training.verdict import assess
from tests.builders import blobs, make_run

pytestmark = pytest.mark.slow

MINUTES = "longer training"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), blobs(), steps=10)


def context_with_losses(run: Run, losses, epochs: float, monkeypatch) -> ReportContext:
    """The context of a run of 480 images with other losses, spread evenly over its epochs."""
    seen = np.linspace(0, epochs * 480, len(losses) + 1)[1:]
    rows = [
        {"step": i + 1, "images_seen": s, "loss": loss, "val_loss": loss, "val_kl": 9.0}
        for i, (s, loss) in enumerate(zip(seen.tolist(), losses, strict=True))
    ]
    monkeypatch.setattr(Run, "metrics", lambda self: rows)
    monkeypatch.setitem(run.__dict__, "info", dataclasses.replace(run.info, num_images=480))
    context = load_context(run, blobs())
    context.evaluation = {"metrics": {"active_units": 4}}
    return context


def test_minutes_come_first_for_a_run_of_few_epochs_even_with_a_flat_loss(run, monkeypatch):
    context = context_with_losses(run, [40_000.0] * 8, 0.6, monkeypatch)
    first = find_remedies(context)[0]
    assert (first.text, first.promising) == (MINUTES, True)
    assert "trained for 8 steps (0.6 epochs)" in first.evidence


def test_minutes_come_first_for_a_run_with_too_few_losses_to_compare(run, monkeypatch):
    context = context_with_losses(run, [40_000.0], 0.6, monkeypatch)
    assert find_remedies(context)[0].text == MINUTES


@pytest.mark.parametrize("offset", [0.0, 40_000.0, -67_000.0])
def test_minutes_come_first_while_the_validation_loss_falls(run, monkeypatch, offset):
    losses = [offset + 300 / t for t in range(1, 21)]
    first = find_remedies(context_with_losses(run, losses, 100, monkeypatch))[0]
    assert (first.text, first.promising) == (MINUTES, True)
    assert "nats per image in the last quarter" in first.evidence


@pytest.mark.parametrize("offset", [0.0, 40_000.0])
def test_minutes_are_unlikely_to_help_once_the_loss_is_flat(run, monkeypatch, offset):
    losses = [offset + 300, offset + 200, *[offset + 100] * 18]
    remedies = find_remedies(context_with_losses(run, losses, 100, monkeypatch))
    assert [r.promising for r in remedies if r.text == MINUTES] == [False]


def test_overfitting_is_reported_after_enough_epochs_only(run, monkeypatch):
    losses = [200.0, 100, *[150.0 + i for i in range(18)]]
    monkeypatch.setattr(LearningCurve, "training_rose", False)
    late = find_remedies(context_with_losses(run, losses, 100, monkeypatch))
    assert late[0].text.startswith("more images")
    early = find_remedies(context_with_losses(run, losses, 2, monkeypatch))
    assert early[0].text == MINUTES


def test_the_first_remedy_of_a_collapsed_run_makes_the_kl_weigh_less(run, monkeypatch):
    context = context_with_losses(run, [300.0, 200, *[100.0] * 18], 100, monkeypatch)
    context.evaluation = {"metrics": {"active_units": 0}}
    first, *others = find_remedies(context)
    assert first.text == "--kl-warmup 0.3"
    assert {remedy.key for remedy in others if remedy.promising} == {"free_bits"}


@pytest.mark.parametrize(("marginal_kl", "promising"), [(3.0, True), (0.1, False)])
def test_a_learned_prior_is_promising_if_the_prior_is_far_from_the_latents(
    run, monkeypatch, marginal_kl, promising
):
    context = context_with_losses(run, [300.0, 200, *[100.0] * 18], 100, monkeypatch)
    metrics = {"marginal_kl": marginal_kl, "mutual_information": 5.0, "rate": 10.0}
    context.evaluation["metrics"] |= metrics
    context.evaluation["protocol"] = {"elbo_surgery": {"upper_limit_of_mutual_information": 9.2}}
    (remedy,) = (r for r in find_remedies(context) if r.key == "learned_prior")
    assert remedy.promising == promising
    assert "KL(q(z) || p(z))" in remedy.evidence
    metrics = context.evaluation["metrics"]
    metrics["mutual_information"] = 9.1  # all that the images can show: the rest may be either
    (remedy,) = (r for r in find_remedies(context) if r.key == "learned_prior")
    assert "high-frequency power" in remedy.evidence


def test_last_fall_compares_the_end_with_the_third_quarter():
    def last_fall(*losses):
        return LearningCurve(losses, losses).last_fall

    assert last_fall(9, 8, 5, 3) == 2
    assert last_fall(9, 8, 5, 7) == 0
    assert last_fall(9, 8, 7) is None


def remedies_of(run, monkeypatch, metrics, sharpness=None, **model):
    """The remedies for a run of a flat loss, by what each changes."""
    context = context_with_losses(run, [300.0, 200, *[100.0] * 18], 100, monkeypatch)
    context.evaluation["metrics"] |= metrics
    options = {**run.config["model"], **model}
    monkeypatch.setitem(run.config, "model", options)
    monkeypatch.setattr(ReportContext, "sharpness", property(lambda self: sharpness or {}))
    return {r.key: r for r in find_remedies(context)}


def test_a_fixed_sigma_calls_for_an_analytic_variance(run, monkeypatch):
    gaussian = {"likelihood": "gaussian"}
    fixed = remedies_of(run, monkeypatch, {}, sigma=1.0, **gaussian)
    assert fixed["variance"].promising
    assert "fixed at 1" in fixed["variance"].evidence
    learned = remedies_of(run, monkeypatch, {}, sigma=None, **gaussian)
    assert not learned["variance"].promising
    analytic = remedies_of(run, monkeypatch, {}, sigma=None, variance="per-pixel", **gaussian)
    assert not {"variance", "per_pixel"} & set(analytic)


def test_a_loose_bound_calls_for_a_tighter_one_or_a_richer_posterior(run, monkeypatch):
    loose = {"log_likelihood": -90.0, "log_likelihood_error": 0.3, "elbo": -96.0}
    monkeypatch.setattr(Run, "evaluation", lambda self: {"metrics": loose})
    remedies = remedies_of(run, monkeypatch, loose)
    for key in ("iw_samples", "iaf"):
        assert remedies[key].promising
        assert "6 nats below log p(x)" in remedies[key].evidence
    assert "iw_samples" not in remedies_of(run, monkeypatch, loose, iw_samples=8)
    tight = loose | {"elbo": -90.5}
    monkeypatch.setattr(Run, "evaluation", lambda self: {"metrics": tight})
    assert not remedies_of(run, monkeypatch, tight)["iaf"].promising


@pytest.mark.parametrize(("detail", "promising"), [(0.4, True), (0.97, False)])
def test_reconstructions_without_detail_call_for_losses_of_structure(
    run, monkeypatch, detail, promising
):
    sharpness = {"samples": 0.4, "reconstructions": detail}
    remedies = remedies_of(run, monkeypatch, {}, sharpness)
    for key in ("perceptual", "adversarial", "ms_ssim"):
        assert remedies[key].promising == promising
        assert "high-frequency power" in remedies[key].evidence
    used = remedies_of(run, monkeypatch, {}, sharpness, perceptual=0.1, ms_ssim=0.1)
    assert {"perceptual", "adversarial", "ms_ssim"} & set(used) == {"adversarial"}


def test_vamp_prior_is_suggested_with_a_flow(run, monkeypatch):
    sharpness = {"samples": 0.4, "reconstructions": 0.9}
    remedies = remedies_of(run, monkeypatch, {}, sharpness)
    assert remedies["vamp_prior"].promising
    assert remedies["learned_prior"].promising
    assert "vamp_prior" not in remedies_of(run, monkeypatch, {}, sharpness, prior="flow")


@pytest.mark.parametrize("seed", range(8))
def test_the_report_and_an_explanation_list_the_same_remedies(run, monkeypatch, seed):
    """Whatever was measured, and wherever the run's own report measured something else."""
    rng = np.random.default_rng(seed)
    names = ("calibration", "prior_share", "sharpness_reconstructions", "sharpness_samples",
             "marginal_kl", "total_correlation", "dimension_wise_kl", "one_sigma")  # fmt: skip
    metrics: dict[str, float | None] = {
        n: float(v) for n, v in zip(names, rng.gamma(1, 1, 8), strict=True)
    }
    metrics |= {"active_units": float(rng.integers(5)), "units": 4.0, "rate": 10.0}
    metrics |= {"prior_share_error": None}
    context = context_with_losses(run, [300.0, 200, *[100.0] * 18], 100, monkeypatch)
    monkeypatch.setattr(ReportContext, "sharpness", property(lambda self: {"samples": 9.0}))
    weights = {"weights": hash_file(run.weights_path)}
    record = {"metrics": metrics, "warnings": [], "causes": [], "protocol": weights}
    monkeypatch.setattr(remedies_module, "read_explanation", lambda run, **_: record)
    verdict = assess(run, {"metrics": metrics, "warnings": []})
    expected = list_remedies(run, find_state(verdict, metrics), verdict, metrics)
    assert find_remedies(context) == expected
    weights["weights"] = "of other weights"
    assert find_remedies(context) != expected


@pytest.mark.parametrize("metrics", [None, [], {"rate": "x"}, {"prior_share": {}}, {"units": "4"}])
def test_a_record_that_was_changed_by_hand_breaks_no_report(run, monkeypatch, metrics):
    context = context_with_losses(run, [300.0, 200, *[100.0] * 18], 100, monkeypatch)
    protocol = {"weights": hash_file(run.weights_path)}
    record = {"metrics": metrics, "warnings": [], "causes": [], "protocol": protocol}
    monkeypatch.setattr(remedies_module, "read_explanation", lambda run, **_: record)
    assert find_remedies(context)
