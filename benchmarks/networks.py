"""VAEs with the plain MLPs of the literature, in place of residual ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.models.vae import build
from pinxit.models.vae.config import Config
from pinxit.models.vae.networks import MLPDecoder


class PlainEncoder(nn.Module):
    """A plain MLP to means and log-variances, for example 784-200-200-50."""

    def __init__(self, dims: int, hidden: tuple[int, ...], latent: int, act: type) -> None:
        super().__init__()
        self.body = _stack((dims, *hidden), act)
        self.out_proj = nn.Linear(hidden[-1], 2 * latent)

    def forward(self, x: Tensor, labels: Any) -> Tensor:
        return self.out_proj(self.body(x.flatten(1)))


class PlainDecoder(MLPDecoder):
    """A plain MLP with the encoder's widths in reverse order."""

    def __init__(self, shape: tuple[int, ...], hidden: tuple[int, ...], latent: int, act: type):
        nn.Module.__init__(self)
        self.shape = shape
        self.body = _stack((latent, *reversed(hidden)), act)
        self.out_proj = nn.Linear(hidden[0], shape[0] * shape[1] * shape[2])

    def forward_hidden(self, z: Tensor, labels: Any) -> Tensor:
        return self.body(z)


def _stack(sizes: tuple[int, ...], act: type) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), act()]
    return nn.Sequential(*layers)


def plain_vae(
    info: DatasetInfo, hidden: tuple[int, ...], latent: int, act: type = nn.Tanh, **options: Any
) -> Any:
    """Build a VAE whose encoder and decoder are plain MLPs with these hidden widths."""
    model = build(Config(network="mlp", latent_dim=latent, width=1, depth=1, **options), info)
    shape = (model.likelihood.out_channels, info.height, info.width)
    model.encoder = PlainEncoder(info.dims, hidden, latent, act)
    model.decoder = PlainDecoder(shape, hidden, latent, act)
    return model
