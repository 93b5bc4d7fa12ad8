"""Convolutions with channels stored last compute what they compute with channels first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pinxit
from pinxit.models import build_model
from pinxit.models.vae import ladder_networks, networks
from pinxit.nn import layers
from pinxit.nn.layers import ResidualConv
from tests.builders import blobs

CONFIGS = {
    "conv": {"network": "conv"},
    "conv, labels": {"network": "conv", "condition": "label"},
    "ladder": {"latents": "ladder", "levels": 2},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_layout_changes_no_value_and_no_gradient(name, channels, monkeypatch):
    images = blobs(height=12, width=16, channels=channels)
    model = build_model(pinxit.VAE(**CONFIGS[name]), images, np.arange(48))[0]
    _randomize(model)
    layouts = []
    for module in model.modules():
        if isinstance(module, ResidualConv):
            module.register_forward_pre_hook(lambda _, args: layouts.append(_is_last(args[0])))
    last = _compute_gradients(model, images)
    assert layouts, "a network of convolutions"
    assert all(layouts)
    layouts.clear()
    for module in (layers, networks, ladder_networks):
        monkeypatch.setattr(module, "channels_last", lambda h: h)
    first = _compute_gradients(model, images)
    assert not all(layouts)  # the decoder
    for ours, plain in zip(last, first, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def _compute_gradients(model, images) -> list[torch.Tensor]:
    torch.manual_seed(0)
    x = model.likelihood.observe(torch.from_numpy(images.pixels[:4]))
    labels = torch.from_numpy(images.labels[:4]) if model.label_conditional else None
    weights = model.log_weights(x, labels, 3, seeds=range(4))
    model.zero_grad()
    weights.sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return [weights.detach(), *gradients]


def _randomize(model) -> None:
    """Last layers that start at zero would hide the layers before them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def _is_last(h: torch.Tensor) -> bool:
    return h.is_contiguous(memory_format=torch.channels_last) and not h.is_contiguous()
