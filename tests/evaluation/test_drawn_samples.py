"""`evaluate --prior`: samples of a prior that is fitted to the latents after training."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.drawn_samples import draw_samples
from pinxit.evaluation.options import EvalOptions
from pinxit.models import latent_densities
from pinxit.runs import Run, evaluation_file
from pinxit.sampling import fitted_priors
from tests.builders import blobs, make_run, save_npz

FAST = {"iw_samples": 0, "distances": False, "probe_train_size": 0, "quiet": True}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setattr(latent_densities, "FLOW_STEPS", 3)
    monkeypatch.setattr(latent_densities, "MIN_ROWS", 200)
    monkeypatch.setattr(latent_densities, "COMPONENTS", (1,))
    images = pinxit.load_images(str(save_npz(tmp_path / "blobs.npz", blobs())))
    return make_run(tmp_path / "run", images)


@pytest.mark.parametrize("prior", ["mixture", "realnvp"])
def test_samples_are_those_of_the_fitted_prior(run, prior):
    own = pinxit.evaluate(run, **FAST)
    record = pinxit.evaluate(run, **FAST, prior=prior)
    assert json.loads((run.path / f"evaluation-{prior}.json").read_text()) == record
    assert run.evaluation() == own, "the figures of its own prior are kept"
    assert (own["protocol"]["prior"], record["protocol"]["prior"]) == ("own", prior)
    assert record["metrics"]["sharpness_samples"] != own["metrics"]["sharpness_samples"]
    for name in ("elbo", "psnr", "sharpness_reconstructions"):
        assert record["metrics"][name] == own["metrics"][name]
    model = run.load()
    samples = draw_samples(model, blobs(), 5, EvalOptions(prior=prior))
    assert np.array_equal(samples.pixels, pinxit.Run(run.path).sample(5, prior=prior).pixels)


def test_labels_have_the_frequencies_of_the_images(tmp_path, run, monkeypatch):
    images = pinxit.load_images(str(tmp_path / "blobs.npz"))
    labelled = make_run(tmp_path / "labelled", images, condition="label")
    chosen = []
    decode = fitted_priors.decode_as_sampled

    def record(model, z, labels, *rest):
        chosen.append(np.bincount(labels, minlength=4))
        return decode(model, z, labels, *rest)

    monkeypatch.setattr(fitted_priors, "decode_as_sampled", record)
    draw_samples(labelled.load(), images, 96, EvalOptions(prior="mixture"))
    assert np.array_equal(chosen[0], np.bincount(images.labels, minlength=4))


def test_a_folder_that_cannot_be_written_loses_nothing(run, tmp_path, monkeypatch):
    messages = []

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fitted_priors, "keep_prior", refuse)
    monkeypatch.setattr(fitted_priors, "echo", messages.append)
    out = tmp_path / "elsewhere.json"
    record = pinxit.evaluate(run, **FAST, prior="mixture", out=out)
    assert json.loads(out.read_text()) == record
    assert any("not kept" in message and "ermission" in message for message in messages)
    assert not (run.path / "prior-mixture.safetensors").exists()


def test_a_prior_that_an_older_version_fitted_is_fitted_again(run, monkeypatch):
    pinxit.Run(run.path).sample(2, prior="mixture")
    kept = run.path / "prior-mixture.safetensors"
    before = kept.read_bytes()
    monkeypatch.setattr(fitted_priors, "FIT", "0")
    pinxit.Run(run.path).sample(2, prior="mixture")
    older = kept.read_bytes()
    assert older != before
    monkeypatch.setattr(fitted_priors, "FIT", "1")
    pinxit.Run(run.path).sample(2, prior="mixture")
    assert kept.read_bytes() != older


def test_a_prior_file_that_does_not_say_its_images_is_read(run, monkeypatch):
    first = pinxit.Run(run.path).sample(2, prior="mixture").pixels
    kept = run.path / "prior-mixture.safetensors"
    with safe_open(kept, "pt") as content:
        facts = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    assert facts["images"] == run.config["data"]["fingerprint"]
    save_file(tensors, kept, {name: facts[name] for name in ("weights", "fit")})
    monkeypatch.setattr(fitted_priors, "fit_prior", None)
    assert np.array_equal(pinxit.Run(run.path).sample(2, prior="mixture").pixels, first)


def test_a_prior_is_fitted_to_images_of_the_training_alone(run, tmp_path):
    save_npz(tmp_path / "blobs.npz", blobs(64))
    with pytest.raises(PinxitError, match=r"are not what .* was trained on"):
        pinxit.Run(run.path).sample(2, prior="mixture")
    opened = pinxit.Run(run.path)
    opened.attach_images(dataclasses.replace(blobs(64), fingerprint="other"))
    with pytest.raises(PinxitError, match=r"are not what .* was trained on"):
        opened.sample(2, prior="mixture")


def test_images_given_in_python_are_those_that_a_prior_is_fitted_to(tmp_path, run):
    images = pinxit.load_images(str(tmp_path / "blobs.npz"))
    (tmp_path / "blobs.npz").unlink()
    with pytest.raises(PinxitError):
        pinxit.Run(run.path).sample(2, prior="mixture")
    opened = pinxit.Run(run.path)
    opened.attach_images(images)
    record = opened.evaluate(**FAST, prior="mixture")
    assert record["protocol"]["prior"] == "mixture"
    (run.path / "prior-mixture.safetensors").unlink()
    assert len(opened.sample(2, prior="mixture")) == 2


def test_what_has_no_such_prior_is_refused(tmp_path, run):
    with pytest.raises(UsageError, match=r"no prior 'mixtures'\. Did you mean 'mixture'"):
        pinxit.evaluate(run, **FAST, prior="mixtures")
    config = pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4)
    igpt = pinxit.train(config, blobs(), out=tmp_path / "igpt", steps=1, quiet=True)
    with pytest.raises(PinxitError, match="these families can: vae"):
        pinxit.evaluate(igpt, blobs(), **FAST, prior="mixture")
    options = {"network": "conv", "latents": "ladder", "levels": 2}
    ladder = make_run(tmp_path / "ladder", blobs(), 5, **options)
    with pytest.raises(PinxitError, match=r"--prior mixture needs .* ladder of latents"):
        pinxit.evaluate(ladder, blobs(), **FAST, prior="mixture")


@pytest.mark.parametrize(("split", "prior", "name"), [
    ("test", "own", "evaluation.json"),
    ("validation", "own", "evaluation-validation.json"),
    ("test", "mixture", "evaluation-mixture.json"),
    ("all", "realnvp", "evaluation-all-realnvp.json"),
])  # fmt: skip
def test_names_of_files(split, prior, name):
    assert evaluation_file(split, prior) == name
