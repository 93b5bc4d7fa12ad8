"""What a flow is conditioned on: it samples and completes from what it has learned only."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import pinxit
from pinxit.data.masks import half_mask
from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.flow.config import Config
from tests.builders import blobs

SIZE = {"width": 32, "heads": 1, "depth": 1, "text_depth": 1, "num_clusters": 3}
CONDITIONS = ("none", "label", "text", "cluster")


def build(condition, **options):
    """A flow whose conditions matter without training."""
    torch.manual_seed(0)
    model = build_model(Config(condition=condition, **SIZE, **options), blobs(), np.arange(48))[0]
    with torch.no_grad():
        for block in model.network.blocks:
            block.modulation.weight.normal_(std=0.3)
        model.network.out_proj.weight.normal_(std=0.15)
    return model.eval()


def randomize_untrained(model):
    """A copy of a model whose parameters without any gradient in training have other values."""
    other = copy.deepcopy(model).train()
    total = {name: torch.zeros_like(p) for name, p in other.named_parameters()}
    for _ in range(3):
        other.zero_grad()
        other.loss(blobs().batch(np.arange(48))).total.backward()
        for name, parameter in other.named_parameters():
            total[name] += 0 if parameter.grad is None else parameter.grad.abs()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter += (total[name] == 0) * torch.randn_like(parameter)
    return other.eval()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_images_are_generated_by_parameters_that_were_trained(condition, dropout):
    model = build(condition, caption_dropout=dropout, mask_share=0.5)
    images, flows = blobs(2), (model, randomize_untrained(model))
    completed = [
        flow.complete(images, half_mask(images, "lower"), steps=3).pixels for flow in flows
    ]
    assert np.array_equal(*completed)
    assert np.array_equal(*(flow.sample(4, steps=3).pixels for flow in flows))


@pytest.mark.parametrize("condition", ["none", "label"])
def test_a_vae_is_taken_only_if_it_gets_all_that_it_is_conditioned_on(condition, tmp_path):
    settings = {"steps": 1, "batch_size": 8, "quiet": True}
    config = pinxit.VAE(latents="grid", width=8, depth=1, condition=condition)
    vae = pinxit.train(config, blobs(32, 16, 16), out=tmp_path / "vae", **settings)
    flow = pinxit.Flow(vae=str(vae.path), width=32, depth=1, heads=1, condition="label")
    if condition == "label":
        with pytest.raises(UsageError, match="labels, which a flow does not give it"):
            pinxit.train(flow, blobs(32, 16, 16), out=tmp_path / "flow", **settings)
    else:
        pinxit.train(flow, blobs(32, 16, 16), out=tmp_path / "flow", **settings)
