"""The stages that a model's abilities select, and the record of how they were measured."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pinxit
from pinxit.console import StageProgress
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation import feature_space
from pinxit.evaluation.evaluator import Evaluator
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.runner import evaluate
from pinxit.models import build_model
from pinxit.models.generation import GenerationParams
from pinxit.nn.image_seeds import draw_uniforms
from pinxit.sampling.observation import observe_images
from tests.builders import blobs, build_vae, make_run, values_of, without_labels

WITHOUT_DISTANCES = EvalOptions(iw_samples=4, likelihood_images=3, distances=False)


def build_evaluator(model, images=None, options=WITHOUT_DISTANCES) -> Evaluator:
    return Evaluator(model, blobs() if images is None else images, options, StageProgress(False))


class NoiseSampler:
    """A fake model that can only sample: image i depends on (seed, i)."""

    def sample(self, n, params=None, *, label=None, **options):
        pixels = [np.random.default_rng([options["seed"], i]).bytes(64) for i in range(n)]
        return Images(np.frombuffer(b"".join(pixels), np.uint8).reshape(n, 8, 8, 1))


def test_a_model_without_abilities_has_no_metrics():
    evaluator = build_evaluator(object(), options=EvalOptions())
    assert list(evaluator.metrics()) == []
    assert evaluator.protocol == {}


def test_a_model_that_samples_is_measured_by_its_samples_alone():
    evaluator = build_evaluator(NoiseSampler())
    assert set(values_of(evaluator.metrics())) == {
        "sharpness_samples",
        "sharpness_samples_error",
        "frequencies",
        "spectrum_data",
        "spectrum_data_error",
        "spectrum_samples",
        "spectrum_samples_error",
    }
    assert evaluator.protocol == {"split": "test", "test_images": 24, "samples": 24}


def test_the_protocol_of_a_vae_has_the_likelihood_and_the_importance_samples():
    evaluator = build_evaluator(build_vae())
    metrics = values_of(evaluator.metrics())
    assert metrics["log_likelihood"] > metrics["elbo"]
    assert {"psnr", "active_units", "probe_accuracy", "sharpness_reconstructions"} <= set(metrics)
    rows = evenly_spaced_indices(len(evaluator.test), 3)  # the images of the samples
    elbo = evaluator.elbo_terms.elbo[rows].mean()
    assert metrics["bound_gap"] == pytest.approx(metrics["log_likelihood"] - elbo)
    sampling = evaluator.protocol["importance_sampling"]
    assert sampling.pop("sampling_error") > 0
    assert sampling == {"samples_per_image": 4, "images": 3, "defensive_share": 0.1}
    assert evaluator.protocol["elbo_surgery"]["images"] == len(evaluator.test)
    rate = metrics["mutual_information"] + metrics["marginal_kl"]
    assert rate == pytest.approx(metrics["rate"])
    assert "frechet_samples" not in metrics


def test_without_a_test_split_all_images_are_measured_with_a_warning():
    evaluator = build_evaluator(NoiseSampler(), dataclasses.replace(blobs(), splits=None))
    list(evaluator.metrics())
    assert evaluator.protocol["split"] == "all images (no test split)"
    assert evaluator.protocol["test_images"] == 96
    assert "no test split" in evaluator.warnings[0]
    assert len(evaluator.train_subset) == 0


class BinaryModel:
    """A perfect model of binarized blobs: samples are other blobs, binarized as it observes."""

    def binarize(self, pixels, seeds):
        return (draw_uniforms(pixels.shape, seeds) * 255 < pixels).to(torch.uint8) * 255

    def sample(self, n, params=None, *, label=None, seed=0):
        return observe_images(self, blobs(n, seed=77))


def test_a_perfect_model_of_binarized_images_scores_at_its_floor(monkeypatch):
    monkeypatch.setattr(feature_space, "STEPS", 25)
    evaluator = build_evaluator(BinaryModel(), blobs(800), EvalOptions())
    metrics = dict(evaluator.metrics())
    floor = metrics["frechet_train_test"]
    assert metrics["frechet_samples"].value < floor.value + 5 * floor.error
    sharpness = metrics["sharpness_samples"]
    assert sharpness.value == pytest.approx(1, abs=4 * sharpness.error)
    assert metrics["coverage"].value > 0.85
    assert metrics["memorisation"].value < 0.03
    assert "black and white" in evaluator.protocol["distances"]["compared"]
    assert not any("reproduces" in warning for warning in evaluator.warnings)


def test_too_few_images_for_distances_give_a_warning():
    images = blobs(96).take(np.array([0, 1, 2, 90, 91]))
    evaluator = build_evaluator(NoiseSampler(), images, EvalOptions())
    assert "frechet_samples" not in values_of(evaluator.metrics())
    assert evaluator.warnings == ["no distances: 2 test images are too few"]


def test_changes_override_options(tmp_path):
    run = make_run(tmp_path / "run", blobs(), steps=5)
    options = {"iw_samples": 0, "seed": 5, "progress": False, "write": False}
    record = evaluate(run, blobs(), WITHOUT_DISTANCES, **options)
    assert record["protocol"]["seed"] == 5
    assert "importance_sampling" not in record["protocol"]
    assert {"date", "machine", "versions", "fingerprint"} <= set(record["protocol"])
    assert not (run.path / "evaluation.json").exists()


def test_another_split_is_measured_on_its_images_and_written_to_a_file_of_its_own(tmp_path):
    run, images = make_run(tmp_path / "run", blobs(), steps=5), blobs()
    options = {"iw_samples": 0, "distances": False, "progress": False}
    on_test = evaluate(run, images, **options)
    on_validation = evaluate(run, images, split="validation", **options)
    assert on_test["protocol"]["split"] == "test"
    assert on_validation["protocol"]["split"] == "validation"
    count = len(images.split_indices("validation"))
    assert on_validation["protocol"]["test_images"] == count
    assert run.evaluation() == json.loads(json.dumps(on_test)), "not overwritten"
    assert run.evaluation("validation")["metrics"] == on_validation["metrics"]
    # the images of the test split play no part
    rows = np.concatenate([images.split_indices("train"), images.split_indices("validation")])
    again = evaluate(run, images.take(rows), split="validation", write=False, **options)
    assert again["metrics"] == on_validation["metrics"]


def test_training_images_are_measured_with_a_warning():
    options = dataclasses.replace(WITHOUT_DISTANCES, split="train")
    evaluator = build_evaluator(NoiseSampler(), options=options)
    list(evaluator.metrics())
    assert "training split" in evaluator.warnings[0]


def test_unknown_splits_are_errors_with_the_nearest_known_one():
    with pytest.raises(UsageError, match="Did you mean 'validation'"):
        EvalOptions(split="validaton")


def test_images_that_the_run_was_not_trained_on_are_named(tmp_path):
    run = make_run(tmp_path / "run", blobs(), steps=5)
    others = dataclasses.replace(blobs(seed=1), source="others", fingerprint="others")
    options = {"iw_samples": 0, "progress": False, "write": False}
    own, other = (evaluate(run, i, WITHOUT_DISTANCES, **options) for i in (blobs(), others))
    assert not any("not trained on" in text for text in own["warnings"])
    assert any("not trained on others" in text for text in other["warnings"])


@given(st.lists(st.sampled_from([-1, 0, 4]), min_size=24, max_size=24), st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_likelihood_says_how_many_images_have_no_known_label(labels, has_labels):
    """Label 4 is of a name that the model does not know."""
    images = blobs()
    known, names = np.array([0] * 72 + labels), (*images.label_names, "north")
    images = dataclasses.replace(images, labels=known, label_names=names)
    if not has_labels:
        images = without_labels(images)
    count = sum(label != 0 for label in labels) if has_labels else 24
    options = EvalOptions(iw_samples=2, max_images=2, distances=False, probe_train_size=0)
    evaluator = build_evaluator(build_vae(condition="label"), images, options)
    names_of_metrics = set(values_of(evaluator.metrics()))
    warning = f"{count} of 24 images have no label that the model knows"
    assert (warning in evaluator.warnings) == (count > 0)
    is_given = {"elbo:label", "log_likelihood:label", "log_likelihood_half:label"}
    assert (is_given <= names_of_metrics) == (count < 24)
    assert ("elbo" in names_of_metrics) == (count == 24)
    assert ("| label)" in evaluator.protocol["likelihood"]) == (count < 24)


def test_unknown_options_are_errors_before_the_run_is_loaded():
    with pytest.raises(UsageError, match="Did you mean 'iw_samples'"):
        evaluate("no-such-run", iw_sample=3)
    with pytest.raises(PinxitError, match="no-such-run"):
        evaluate("no-such-run", iw_samples=3, progress=False)


def test_a_model_that_draws_and_edits_without_pairs_is_measured_as_one_that_draws():
    images = dataclasses.replace(blobs(), before=None)
    config = pinxit.Flow(width=16, depth=1, heads=1, text_depth=1)
    model = build_model(config, images, images.split_indices("train"))[0].eval()
    options = EvalOptions(likelihood_images=6, generation=GenerationParams(steps=2))
    evaluator = build_evaluator(model, images, options)
    values = values_of(evaluator.metrics())
    assert {"log_likelihood", "frechet_samples", "t2i_recall_at_1"} <= set(values)
    assert not [name for name in values if name.startswith("edit")]
    assert evaluator.protocol["likelihood"].startswith("lower bound, of 6 images")
