"""Posteriors that are points: what is measured of them does not depend on the latents' scale.

With the encoder's outputs times c, and the decoder's inputs divided by it, a point decodes to the
same image.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pinxit.console import StageProgress
from pinxit.errors import UsageError
from pinxit.evaluation.evaluator import Evaluator
from pinxit.evaluation.explain import Explainer
from pinxit.evaluation.explain_metrics import measure_metrics, outlier_warnings
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.options import EvalOptions
from pinxit.reports.explain import explain
from pinxit.sampling.elbo import elbo_terms
from pinxit.sampling.fitted_priors import encode_for_fitting
from pinxit.sampling.latents import latent_activity
from tests.builders import blobs, build_vae, make_run, shorten_explanations

SCALES = (2.0**-6, 2.0**5)  # powers of two: without rounding
# of samples of the prior N(0, I), which fit one scale only
OF_THE_PRIOR = (
    "frechet_prior", "prior_share", "closed_by", "sharpness_samples", "spectrum_samples",
)  # fmt: skip
OF_A_BOUND = {
    "elbo", "rate", "log_likelihood", "iw_gain", "bound_gap", "mutual_information", "marginal_kl",
    "prior_gain", "kl_per_latent", "posterior_mean_variance",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Few steps and few latents wherever something is fitted."""
    patch = pytest.MonkeyPatch()
    shorten_explanations(patch)
    yield
    patch.undo()


def build_point(scale: float = 1.0, **options):
    model = copy.deepcopy(build_vae(posterior="deterministic", likelihood="gaussian", **options))
    with torch.no_grad():
        model.encoder.out_proj.weight.mul_(scale)
        model.encoder.out_proj.bias.mul_(scale)
        model.decoder.in_proj.weight.div_(scale)
    return model


def explain_all(model) -> tuple[dict, list[str]]:
    explainer = Explainer(model, blobs(240), StageProgress(False))
    metrics = measure_metrics(explainer)
    warnings = [*explainer.collapse_warnings(), *outlier_warnings(explainer)]
    return metrics, warnings


def evaluate_all(model) -> tuple[dict, list[str]]:
    options = EvalOptions(distances=False, probe_train_size=0)
    evaluator = Evaluator(model, blobs(240), options, StageProgress(False))
    collected = collect(evaluator.metrics())
    return {**collected.metrics, **collected.facts, **collected.curves}, evaluator.warnings


@pytest.mark.slow
@pytest.mark.parametrize("measure", [explain_all, evaluate_all])
def test_metrics_do_not_depend_on_the_scale_of_points(measure):
    expected, warnings = measure(build_point())
    assert {"distortion", "active_units"} <= expected.keys()
    assert not {name.split(":")[0] for name in expected} & OF_A_BOUND
    for scale in SCALES:
        metrics, others = measure(build_point(scale))
        assert metrics.keys() == expected.keys()
        assert others == warnings
        for name, value in metrics.items():
            if not name.startswith(OF_THE_PRIOR):
                assert value == pytest.approx(expected[name], rel=1e-3, abs=1e-6), name


def test_distortion_is_that_of_the_decoded_point():
    model, images = build_point(), blobs()
    first, second = (elbo_terms(model, images, seed).distortion for seed in (0, 0))
    assert np.array_equal(first, second)
    x = model.observe(images.batch(np.arange(len(images))), range(len(images)))
    with torch.no_grad():
        mean = model.q(x).mean
        terms = model.point_terms(x, None)
        expected = -model.likelihood.log_prob(model.decode_params(mean), x)
    assert torch.allclose(terms.distortion, expected)
    assert torch.allclose(terms.rate, 0.5 * mean.square())


def test_a_latent_of_points_is_active_beside_the_others():
    model, images = build_point(2.0**-8), blobs()
    with torch.no_grad():
        for row in (1, 3):
            model.encoder.out_proj.weight[row].zero_()
    activity = latent_activity(model, images)
    assert activity.variance.max() < 0.01
    assert activity.active.tolist() == [True, False, True, False, True]
    assert activity.total_rate is None


def test_priors_are_fitted_to_points_that_are_spread_by_their_scale():
    images = blobs(200)
    plain, scaled = (encode_for_fitting(build_point(c), images) for c in (1.0, 2.0**-6))
    assert np.allclose(plain.std, 0.1 * plain.mean.std(0), rtol=1e-5)
    assert np.allclose(scaled.std, 2.0**-6 * plain.std, rtol=1e-5)


def test_importance_samples_of_points_are_taken_on_request():
    options = EvalOptions(distances=False, probe_train_size=0, iw_samples=4, likelihood_images=8)
    evaluator = Evaluator(build_point(), blobs(), options, StageProgress(False))
    metrics = collect(evaluator.metrics()).metrics
    assert "log_likelihood" in metrics
    assert "bound_gap" not in metrics
    assert "standard deviation 0.1" in evaluator.protocol["likelihood"]


@pytest.mark.slow
def test_a_page_of_points_claims_no_rate(tmp_path):
    run = make_run(tmp_path / "run", blobs(240), 5, posterior="deterministic")
    record = explain(run, blobs(240))
    assert "rate" not in record["metrics"]
    page = (run.path / "explain.html").read_text(encoding="utf-8")
    assert "one point for each image" in page
    with pytest.raises(UsageError, match="a curve is of distortion over rate"):
        explain(run, blobs(240), curve=True)
