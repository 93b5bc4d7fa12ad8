"""What `explain` advises, by what was measured; each command is one that trains."""

from __future__ import annotations

import shlex

import pytest

from pinxit.evaluation.advice import list_remedies
from pinxit.evaluation.causes import find_state
from pinxit.models.vae.config import Config
from pinxit.runs import Run
from pinxit.training.verdict import Verdict
from tests.builders import blobs, make_run

GOOD = Verdict("good", ("the loss is level",))
FINE = {"calibration": 1.0, "prior_share": 0.1, "prior_share_error": 0.01, "active_units": 4.0}
FINE |= {"units": 4.0, "sharpness_reconstructions": 0.95}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "run", blobs(), steps=5)


def advise(run, verdict=GOOD, model=None, evaluation=None, **metrics):
    """The promising remedies, in their order, and the others."""
    other = Run(run.path.with_name("other"))
    other.write("config.json", run.config | {"model": run.config["model"] | (model or {})})
    other.write("evaluation.json", {"metrics": evaluation or {}})
    measured = FINE | metrics
    remedies = list_remedies(other, find_state(verdict, measured), verdict, measured)
    for remedy in remedies:
        Config(**{**other.config["model"], **(remedy.changes or {})})
        words = shlex.split(remedy.command)
        assert words[0] == "pinxit"
        for name, value in (remedy.changes or {}).items():
            default = getattr(Config(), name)
            assert value == default or f"--{name.replace('_', '-')}" in words
    promising = [r.key for r in remedies if r.promising]
    return promising, [r.key for r in remedies if not r.promising]


GAUSSIAN = {"likelihood": "gaussian"}


def advise_all(run, **options):
    """All remedies, promising or not."""
    promising, others = advise(run, **options)
    return [*promising, *others]


def test_a_good_run_has_no_remedy_for_causes_that_are_not_its(run):
    promising, others = advise(run, model=GAUSSIAN)
    new = {"variance", "per_pixel", "vamp_prior", "iw_samples", "iaf", "perceptual", "ms_ssim"}
    assert not new & set(promising)
    assert new <= set(others)


def test_a_wrong_variance_calls_for_the_analytic_one(run):
    wrong = {"calibration": 9.0, "calibration_error": 0.1}
    assert advise(run, model=GAUSSIAN | {"sigma": 0.1}, **wrong)[0][:2] == ["sigma", "variance"]
    assert advise(run, model=GAUSSIAN, **wrong)[0][:2] == ["variance", "longer"]
    assert "variance" not in advise_all(run, model=GAUSSIAN | {"variance": "analytic"}, **wrong)


def test_one_variance_for_all_pixels_that_costs_nats_calls_for_one_of_each(run):
    promising, _ = advise(run, model=GAUSSIAN, one_sigma=40.0, one_sigma_error=2.0)
    assert "per_pixel" in promising
    assert "per_pixel" not in advise(run, model=GAUSSIAN, one_sigma=3.0, one_sigma_error=2.0)[0]
    assert "per_pixel" not in advise_all(run, model={"likelihood": "bernoulli"})


def test_averages_of_a_decoder_call_for_pixels_that_follow_one_another(run):
    soft = {"sharpness_reconstructions": 0.4}
    assert {"decoder_head", "perceptual"} <= set(advise(run, model=GAUSSIAN, **soft)[0])
    assert "decoder_head" in advise(run, **soft)[0]
    assert "decoder_head" not in advise_all(run, model={"decoder_head": "autoregressive"}, **soft)
    info = run.config["dataset_info"] | {"height": 96, "width": 96}
    large = Run(run.path.with_name("large"))
    large.write("config.json", run.config | {"dataset_info": info})
    keys = {remedy.key for remedy in list_remedies(large, "good", GOOD, FINE | soft)}
    assert "perceptual" in keys
    assert "decoder_head" not in keys, "it takes images of up to 64 x 64"
    info = run.config["dataset_info"] | {"channels": 3}
    large.write("config.json", run.config | {"dataset_info": info})
    keys = {remedy.key for remedy in list_remedies(Run(large.path), "good", GOOD, FINE | soft)}
    assert "decoder_head" not in keys, "measured on grey images"


def test_a_prior_hole_calls_for_priors_and_penalties_of_its_parts(run):
    hole = {"prior_share": 0.7, "closed_by_mixture": 0.6, "closed_by_realnvp": -0.1}
    promising, others = advise(run, **hole)
    assert promising == ["mixture", "learned_prior", "vamp_prior"]
    assert "realnvp" in others
    dependent = {"total_correlation": 5.0, "dimension_wise_kl": 1.0}
    assert "total_correlation" in advise(run, **hole, **dependent)[0]
    assert "vamp_prior" not in advise_all(run, model={"posterior": "vmf"}, **hole)


def test_blurry_reconstructions_call_for_losses_of_structure(run):
    names = ["perceptual", "adversarial", "ms_ssim"]
    promising, _ = advise(run, sharpness_reconstructions=0.5)
    assert promising[-3:] == names
    promising, _ = advise(run, model={"perceptual": 0.1}, sharpness_reconstructions=0.5)
    assert promising[-2:] == names[1:]


def test_a_loose_bound_or_unused_latents_call_for_several_samples(run):
    loose = {"log_likelihood": -80.0, "elbo": -86.0, "log_likelihood_error": 0.2}
    assert {"iw_samples", "iaf"} <= set(advise(run, evaluation=loose)[0])
    # of the same images where `evaluate` says so, however far apart the means of others are
    same = loose | {"bound_gap": 0.5, "bound_gap_error": 0.01}
    assert "iaf" not in advise(run, evaluation=same)[0]
    noisy = loose | {"bound_gap": 3.0, "bound_gap_error": 2.0}
    assert "iaf" not in advise(run, evaluation=noisy)[0]
    promising, others = advise(run, active_units=2.0)
    assert "iw_samples" in promising
    assert "iaf" in others
    assert "iw_samples" not in advise_all(run, model={"iw_samples": 4}, evaluation=loose)


@pytest.mark.parametrize("state", ["undertrained", "overfits", "collapsed", "too few images"])
def test_while_training_is_at_fault_options_are_not_promising(run, state):
    verdict = Verdict(state, ("seen",), "`more`", "better")
    promising, others = advise(run, verdict, model=GAUSSIAN, sharpness_reconstructions=0.4)
    assert not {"perceptual", "variance", "vamp_prior", "iaf"} & set(promising)
    assert {"perceptual", "vamp_prior"} <= set(others)


def test_options_that_are_refused_together_are_not_advised(run):
    grid = {"latents": "grid", "latent_dim": None, "network": "conv", "latent_channels": 2}
    keys = advise_all(run, model=grid | {"downscale": 2, "width": 8})
    assert not {"iaf", "vamp_prior", "learned_prior"} & set(keys)
    assert "iw_samples" in keys
    assert "iw_samples" not in advise_all(run, model={"posterior": "deterministic"})
