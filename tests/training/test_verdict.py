"""The verdict on recorded runs of each state, of all families; no model is built."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.evaluation.captioning import repetition_warnings
from pinxit.evaluation.estimates import Estimate
from pinxit.evaluation.latents import collapse_warnings
from pinxit.evaluation.memorisation import Memorisation
from pinxit.evaluation.sample_quality import _memorisation_warnings
from pinxit.models import get_family, list_families
from pinxit.runs import FORMAT, Run
from pinxit.sampling.latents import LatentActivity
from pinxit.training.learning_curve import read_learning_curve
from pinxit.training.verdict import Verdict, assess

STEPS = np.linspace(0, 1, 201)[1:]
# one row in so many of metrics.csv has a validation loss
EVERY = 10


def falling(t):
    return 300 + 60 * np.exp(-20 * t)


def record_run(
    folder,
    family: str,
    losses=falling,
    train_losses=None,
    *,
    steps: int = 10_000,
    epochs: float = 40.0,
    num_images: int = 5_000,
    last_val_kl: float | None = None,
    validation: bool = True,
    **options,
) -> Run:
    """Write config.json and metrics.csv as a training leaves them; times from 0 to 1."""
    config = get_family(family).Config(**options)
    names = ["step", "images_seen", "loss", "val_loss", "val_kl", "progress"]
    lines = [",".join(names)]
    for i, t in enumerate(STEPS):
        row = [str(round(t * steps)), str(round(t * epochs * num_images))]
        row.append(f"{(train_losses or losses)(t):.5f}")
        is_evaluated = validation and i % EVERY == EVERY - 1
        row.append(f"{losses(t):.5f}" if is_evaluated else "")
        row.append(str(last_val_kl) if is_evaluated and last_val_kl is not None else "")
        row.append(f"{t:.6f}")
        lines.append(",".join(row))
    run = Run(folder)
    run.write("metrics.csv", "\n".join(lines) + "\n")
    info = {"num_images": num_images, "height": 8, "width": 8, "channels": 1, "label_names": []}
    info |= {"binary_fraction": 0.1, "near_binary_fraction": 0.1, "mean": 0.4, "std": 0.3}
    run.write(
        "config.json",
        {
            "format": FORMAT,
            "family": family,
            "model": json.loads(json.dumps(dataclasses.asdict(config))),
            "dataset_info": info | {"languages": ["en"]},
            "training": {"steps": steps},
            "trained": {"steps": steps, "images_seen": round(epochs * num_images)},
        },
    )
    return run


families = pytest.mark.parametrize("family", list_families())


@families
def test_a_run_whose_losses_have_levelled_off_together_is_good(tmp_path, family):
    verdict = assess(record_run(tmp_path, family))
    assert verdict.state == "good"
    assert verdict.remedy == ""
    assert "10,000 steps (40.0 epochs)" in str(verdict)
    assert "levelled off" in str(verdict)


@families
def test_a_run_of_few_epochs_is_undertrained_whatever_else_it_shows(tmp_path, family):
    run = record_run(tmp_path, family, steps=60, epochs=0.6, last_val_kl=0.0)
    verdict = assess(run, {"metrics": {"active_units": 0}})
    assert verdict.state == "undertrained"
    assert verdict.remedy == "higher `--minutes`"
    assert verdict.command == f"pinxit train --resume {run.shell_path} --minutes N"
    assert "60 steps (0.6 epochs)" in str(verdict)


@families
def test_a_run_whose_loss_falls_to_the_end_is_undertrained(tmp_path, family):
    verdict = assess(record_run(tmp_path, family, lambda t: 400 - 100 * t))
    assert verdict.state == "undertrained"
    assert "still falling" in str(verdict)


@families
def test_a_run_whose_validation_loss_rises_while_the_training_loss_falls_overfits(tmp_path, family):
    run = record_run(
        tmp_path, family, lambda t: 300 + 60 * np.exp(-20 * t) + 30 * t, train_losses=falling
    )
    verdict = assess(run)
    assert verdict.state == "overfits"
    assert verdict.remedy.startswith("more images")
    assert "--minutes" not in verdict.remedy
    assert "above the training loss" in str(verdict)


def test_of_a_run_that_keeps_its_last_weights_a_rising_loss_says_little(tmp_path):
    run = record_run(
        tmp_path, "flow", lambda t: 300 + 60 * np.exp(-20 * t) + 30 * t, train_losses=falling
    )
    config = {**run.config, "training": {**run.config["training"], "keep": "last"}}
    run.write("config.json", config)
    verdict = assess(Run(tmp_path))
    assert verdict.state == "unknown"
    assert "says little of samples" in str(verdict)
    assert not verdict.remedy


@families
def test_a_level_validation_loss_far_above_the_training_loss_is_overfitting(tmp_path, family):
    run = record_run(tmp_path, family, falling, train_losses=lambda t: falling(t) - 40 * t)
    assert assess(run).state == "overfits"


@families
def test_few_training_images_are_too_few_images(tmp_path, family):
    verdict = assess(record_run(tmp_path, family, num_images=60, epochs=400))
    assert verdict.state == "too few images"
    assert verdict.remedy == "more images"
    assert "60 training images" in str(verdict)


@families
def test_a_run_whose_training_loss_rises_too_has_diverged(tmp_path, family):
    run = record_run(tmp_path, family, lambda t: 300 + 500 * t**2)
    verdict = assess(run)
    assert verdict.state == "diverged"
    assert "--learning-rate" in verdict.remedy


def test_a_loss_that_rises_where_an_adversarial_term_starts_has_not_diverged(tmp_path):
    def losses(t):
        return falling(t) + (80 if t >= 0.5 else 0)

    assert assess(record_run(tmp_path / "with", "vae", losses, adversarial=0.5)).state == "good"

    def losses_with_term(t):
        return losses(t) + 100 * max(0.0, t - 0.5)

    state = assess(record_run(tmp_path / "traded", "vae", losses_with_term, adversarial=0.5)).state
    assert state not in ("diverged", "overfits")
    assert assess(record_run(tmp_path / "without", "vae", losses)).state == "diverged"


@given(st.lists(st.floats(0, 1e4), min_size=12, max_size=40), st.floats(0.1, 1e4))
def test_penalties_of_the_training_loss_change_no_learning_curve(losses, penalty):
    """Those of validation images are without them: a gap would be theirs."""
    rows = [{"loss": loss} | ({"val_loss": loss + 1} if i % 3 == 2 else {}) for i, loss in
            enumerate(losses)]  # fmt: skip
    penalized = [row | {"loss": row["loss"] + penalty, "unpenalized_loss": row["loss"]}
                 for row in rows]  # fmt: skip
    assert read_learning_curve(penalized) == read_learning_curve(rows)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"beta": 20.0}, "`--beta 1`"),
        ({"sigma": 1.0, "likelihood": "gaussian"}, "no `--sigma`"),
        ({}, "`--kl-warmup 0.3`"),
        ({"kl_warmup": 0.5}, "`--free-bits 0.1`"),
    ],
)
def test_unused_latents_are_a_collapse_and_the_remedy_fits_the_options(tmp_path, options, remedy):
    run = record_run(tmp_path, "vae", last_val_kl=0.002, **options)
    at_the_end_of_training = assess(run)
    assert (at_the_end_of_training.state, at_the_end_of_training.remedy) == ("collapsed", remedy)
    run = record_run(tmp_path, "vae", **options)
    evaluation = {"metrics": {"active_units": 0}, "curves": {"kl_per_latent": [0.01] * 40}}
    assert assess(run, evaluation).remedy == remedy
    warning = "reconstructions hardly depend on the image: 0.10% of the data's variance"
    assert assess(run, {"warnings": [warning]}).evidence == (warning,)


def test_one_code_for_all_patches_is_a_collapse(tmp_path):
    evaluation = {"metrics": {"code_perplexity": 1.01}}
    run = record_run(tmp_path, "tokenizer", quantizer="vq")
    assert assess(run, evaluation).state == "collapsed"
    assert assess(run, evaluation).remedy == "`--quantizer fsq`"
    run = record_run(tmp_path, "tokenizer")
    assert assess(run, evaluation).remedy == "`--code-noise 0`"
    assert assess(run, {"metrics": {"code_perplexity": 300.0}}).state == "good"


def test_every_warning_of_an_evaluation_about_the_model_decides_the_verdict(tmp_path):
    unused = LatentActivity(np.zeros((9, 4)), np.zeros((9, 4)), 0.0)
    few = {"distinct_caption_ratio:en": Estimate(0.02, 0.01)}
    copies = Memorisation(Estimate(0.06, 0.005), Estimate(0.003, 0.005))
    cases = [
        ("vae", collapse_warnings(unused), "collapsed", "`--kl-warmup 0.3`"),
        ("seq2seq", repetition_warnings(few), "collapsed", "captions that differ"),
        ("igpt", _memorisation_warnings(copies, 0, 100), "overfits", "more images"),
    ]
    for family, warnings, state, remedy in cases:
        run = record_run(tmp_path / family, family)
        assert assess(run).state == "good"
        verdict = assess(run, {"warnings": [*warnings]})
        assert verdict.state == state
        assert verdict.remedy.startswith(remedy)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(offset=st.floats(-1e5, 1e5), scale=st.floats(0.01, 1000), family=st.sampled_from(["mae"]))
@pytest.mark.parametrize(
    "shape",
    [
        (falling, falling, "good"),
        (lambda t: 400 - 100 * t, lambda t: 400 - 100 * t, "undertrained"),
        (lambda t: 330 - 60 * (t < 0.2) + 30 * t, falling, "overfits"),
        (falling, lambda t: falling(t) - 40 * t, "overfits"),
    ],
)
def test_the_verdict_depends_on_no_unit_and_no_zero_of_the_loss(
    tmp_path_factory, shape, offset, scale, family
):
    validation, train, state = shape
    run = record_run(
        tmp_path_factory.mktemp("run"),
        family,
        lambda t: offset + scale * validation(t),
        lambda t: offset + scale * train(t),
    )
    assert assess(run).state == state


def test_noise_is_no_trend(tmp_path):
    noise = dict(zip(STEPS, np.random.default_rng(0).normal(0, 1, len(STEPS)), strict=True))
    run = record_run(tmp_path, "vae", lambda t: falling(t) + noise[t], train_losses=falling)
    assert assess(run).state == "good"
    assert "levelled off" in str(assess(run))


def test_without_validation_images_the_training_loss_is_read_and_said(tmp_path):
    verdict = assess(record_run(tmp_path, "igpt", validation=False))
    assert verdict.state == "good"
    assert "no validation images" in str(verdict)


def test_without_losses_nothing_is_known(tmp_path):
    run = record_run(tmp_path, "vae")
    (run.path / "metrics.csv").unlink()
    assert assess(run).state == "unknown"


def test_a_verdict_is_one_line_and_survives_json(tmp_path):
    verdict = assess(record_run(tmp_path, "vae", steps=60, epochs=0.6))
    assert "\n" not in str(verdict)
    assert "`" not in str(verdict)
    assert str(Verdict(**json.loads(json.dumps(verdict.to_json())))) == str(verdict)


def test_few_steps_of_a_flow_are_too_few_whatever_its_loss(tmp_path):
    """A VAE of as many steps is good: its samples do not lag behind its loss."""
    verdicts = {
        (family, steps): assess(record_run(tmp_path / f"{family}-{steps}", family, steps=steps))
        for family in ("flow", "vae")
        for steps in (1_500, 10_000)
    }
    assert verdicts["flow", 1_500].state == "undertrained"
    assert "--minutes" in verdicts["flow", 1_500].remedy
    for key in (("flow", 10_000), ("vae", 1_500), ("vae", 10_000)):
        assert verdicts[key].state == "good"
