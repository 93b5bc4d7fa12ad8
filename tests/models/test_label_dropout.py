"""Label dropout of 0 and 1: no ability depends on a vector that no training has changed."""

from __future__ import annotations

import dataclasses
import typing

import numpy as np
import pytest
import torch

from pinxit.data.masks import half_mask
from pinxit.errors import UsageError
from pinxit.models import build_model, get_family
from pinxit.models.option_effects import check_effects
from pinxit.nn.layers import LabelEmbedding
from pinxit.sampling.fitted_priors import choose_labels
from tests.builders import blobs, without_labels

SMALL = {"width": 16, "depth": 1}
LABELS = {"condition": "label", "label_dropout": 0.0}
MODELS: dict[str, tuple[str, dict[str, typing.Any]]] = {
    "mlp": ("vae", {**SMALL, **LABELS, "network": "mlp", "latent_dim": 3}),
    "conv": ("vae", {**SMALL, **LABELS, "network": "conv", "latent_dim": 3}),
    "grid": ("vae", {**SMALL, **LABELS, "latents": "grid", "downscale": 4}),
    "ladder": ("vae", {**SMALL, **LABELS, "levels": 2}),
    "igpt": ("igpt", {**SMALL, **LABELS, "heads": 2}),
    "masked igpt": ("igpt", {**SMALL, **LABELS, "heads": 2, "objective": "masked"}),
    "flow": (
        "flow",
        {**SMALL, "heads": 2, "condition": "label", "caption_dropout": 0.0, "mask_share": 0.0},
    ),
}


def build(name: str) -> typing.Any:
    """A model with random weights, so that no layer hides what is before it."""
    family, options = MODELS[name]
    images = blobs(48)
    torch.manual_seed(0)
    model = build_model(get_family(family).Config(**options), images, np.arange(24))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def embeddings(model) -> list[LabelEmbedding]:
    return [part for part in model.modules() if isinstance(part, LabelEmbedding)]


def outputs(model) -> dict[str, np.ndarray]:
    """What each ability gives without a label."""
    images = without_labels(blobs(48))[:6]
    unknown = dataclasses.replace(blobs(48), labels=np.full(48, -1))[:6]
    mask = half_mask(images, "lower") if hasattr(model, "complete") else None
    values = {"sample": model.sample(6, seed=1).pixels}
    for name, given in (("none", images), ("unknown", unknown)):
        for ability in ("embed", "score"):
            is_scored = ability != "score" or getattr(model, "left_to_right", True)
            if hasattr(model, ability) and is_scored:
                values[f"{ability} {name}"] = np.asarray(getattr(model, ability)(given))
        if hasattr(model, "reconstruct"):
            values[f"reconstruct {name}"] = model.reconstruct(given).pixels
        if mask is not None:
            values[f"complete {name}"] = model.complete(given, mask, seed=1).pixels
    if hasattr(model, "encode"):
        values["decode"] = model.decode(model.encode(images).mean).pixels
        labels = choose_labels(model, 6, None)
        assert labels is not None
        values["fitted"] = labels
    if hasattr(model, "invert"):
        values["invert"] = np.asarray(model.invert(images[:2]))
    return values


@pytest.mark.parametrize("name", MODELS)
def test_no_ability_depends_on_a_vector_without_a_gradient(name):
    model = build(name)
    model.train().loss(blobs(48).batch(np.arange(24))).total.backward()
    changed = 0
    with torch.no_grad():
        for embedding in embeddings(model):
            gradient = embedding.embedding.weight.grad
            assert gradient is not None
            rows = (gradient == 0).all(1)
            assert not rows[: embedding.num_classes].any()
            changed += int(rows.sum())
    assert changed > 0, "without dropped labels the vector for none is not trained"
    before = outputs(model.eval())
    with torch.no_grad():
        for embedding in embeddings(model):
            embedding.embedding.weight[-1] += 10
    after = outputs(model)
    assert before.keys() == after.keys()
    for ability, value in before.items():
        assert np.array_equal(value, after[ability]), ability


@pytest.mark.parametrize("name", ["mlp", "igpt"])
def test_without_a_label_samples_have_labels_at_random(name):
    """Image i is that of its own label and seed, whatever is sampled beside it."""
    model = build(name).eval()
    images = model.sample(12, seed=3)
    names = model.info.label_names
    by_label = [model.sample(12, seed=3, label=label).pixels for label in names]
    matches = np.array([(images.pixels == other).all((1, 2, 3)) for other in by_label])
    assert matches.any(0).all()
    assert matches.any(1).sum() > 1, "several labels"
    assert np.array_equal(model.sample(4, seed=3, start=8).pixels, images.pixels[8:])


def test_labels_that_are_dropped_now_and_then_leave_their_vector():
    family, options = MODELS["mlp"]
    config = get_family(family).Config(**{**options, "label_dropout": 0.5})
    model = build_model(config, blobs(48), np.arange(24))[0].eval()
    embedding = model.decoder.label_embed
    assert torch.equal(embedding(None, 1)[0], embedding.embedding.weight[-1])


@pytest.mark.parametrize("family", ["vae", "igpt"])
def test_a_training_that_drops_all_labels_is_refused(family):
    info = blobs(48).info(np.arange(24))
    config = get_family(family).Config(condition="label", label_dropout=1.0)
    with pytest.raises(UsageError, match="label_dropout 1 drops every label"):
        check_effects(config, info)
