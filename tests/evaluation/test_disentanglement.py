"""MIG and DCI: on latents that are factors, mixtures of factors, or noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.load import load_images
from pinxit.evaluation import disentanglement as d
from pinxit.models import vae
from tests.builders import blobs, build_vae, values_of


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch):
    monkeypatch.setattr(d, "TREES", 5)
    monkeypatch.setattr(d, "NUM_FOREST_BLOCKS", 2)


def random_factors(n: int, sizes=(4, 3, 2), seed: int = 0) -> d.Factors:
    rng = np.random.default_rng(seed)
    return {f"f{k}": rng.integers(0, size, n) for k, size in enumerate(sizes)}


def test_latents_that_are_the_factors_score_one():
    factors = random_factors(400)
    latents = np.stack([v.astype(float) for v in factors.values()], 1)
    assert d.mutual_information_gap(latents, factors).value > 0.95
    values = values_of(d.dci_metrics(latents, factors, latents, factors))
    for name in ("dci_disentanglement", "dci_completeness", "dci_informativeness"):
        assert values[name] > 0.9, name


def test_rotated_factors_are_informative_but_entangled():
    factors = random_factors(500)
    latents = np.stack([v.astype(float) for v in factors.values()], 1)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    mixed = (latents - latents.mean(0)) / latents.std(0) @ rotation
    assert d.mutual_information_gap(mixed, factors).value < 0.5
    values = values_of(d.dci_metrics(mixed, factors, mixed, factors))
    assert values["dci_informativeness"] > 0.85
    assert values["dci_disentanglement"] < 0.7


def test_a_factor_in_two_latents_has_no_gap():
    factors = random_factors(400, (4,))
    value = factors["f0"].astype(float)
    assert d.mutual_information_gap(np.stack([value, -value], 1), factors).value == pytest.approx(0)
    assert d.mutual_information_gap(value[:, None], factors).value == pytest.approx(1)


def test_noise_and_constants_score_near_zero():
    factors, rng = random_factors(1_000), np.random.default_rng(2)
    gap = d.mutual_information_gap(rng.normal(size=(1_000, 6)), factors)
    assert abs(gap.value) < 0.05
    assert 0 < gap.error < 0.05
    assert d.mutual_information_gap(np.zeros((1_000, 6)), factors).value == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(2, 5), st.integers(0, 10_000))
def test_scores_of_any_importance_are_between_zero_and_one(latents, factors, seed):
    rng = np.random.default_rng(seed)
    importance = rng.exponential(size=(latents, factors)) * (rng.random((latents, factors)) < 0.6)
    for score in (d.disentanglement, d.completeness):
        assert -1e-9 <= score(importance) <= 1 + 1e-9
    permuted = importance[rng.permutation(latents)][:, rng.permutation(factors)]
    assert d.disentanglement(permuted) == pytest.approx(d.disentanglement(importance))
    assert d.completeness(permuted) == pytest.approx(d.completeness(importance))


def test_a_conditional_model_is_measured_without_the_labels_that_are_a_factor():
    """Its encoder would hand them on: the shape would be found in latents that do not hold it."""
    images = load_images("shapes:30", size=16, progress=False)
    info = images.info(images.split_indices("train"))
    options = {"latents": "vector", "latent_dim": 3, "network": "mlp", "condition": "label"}
    config = vae.Config(width=8, depth=1, **options)
    info = dataclasses.replace(info, label_names=("circle", "square"))
    model = vae.build(config.resolve(info), info).eval()
    seen, encode = [], model.encode
    model.encode = lambda images: (seen.append(images), encode(images))[1]
    assert dict(d.disentanglement_metrics(model, images, num_scenes=40))
    assert seen
    assert all(images.labels is None for images in seen)


def test_only_models_of_shapes_are_measured_and_scenes_are_new():
    assert list(d.disentanglement_metrics(build_vae(), blobs())) == []
    images = load_images("shapes:30", size=16, progress=False)
    info = images.info(images.split_indices("train"))
    for options in ({"latents": "vector", "latent_dim": 3, "network": "mlp"}, {"latents": "grid"}):
        model = vae.build(vae.Config(width=8, depth=1, **options).resolve(info), info).eval()
        values = values_of(d.disentanglement_metrics(model, images, num_scenes=40))
        assert {"mig", "dci_disentanglement", "dci_completeness"} <= values.keys()
        assert 0 <= values["dci_informativeness"] <= 1
    scenes = list(d._single_objects(20))
    assert all(len(s.objects) == 1 and s.split is None for s in scenes)
    again = [scene.captions() for scene in d._single_objects(20)]
    assert again == [scene.captions() for scene in scenes]
