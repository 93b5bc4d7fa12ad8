"""A perceptual loss: the distance of images in the features of a frozen network (Zhang 2018).

    d(x, y) = sum_l  mean over positions of  sum_c w_lc (f_lc(x) - f_lc(y))^2,

with the features f_l of layer l normalized to length 1 at each position (their eq. 1). The network
is one of three:

- a small one, trained on the training images before the VAE: it classifies their labels, or tells
  by how much they are turned. It has another seed than the network in whose features `pinxit
  evaluate` measures distances: those stay a measurement;
- the encoder of a run of a masked autoencoder;
- VGG with the weights of LPIPS, of a file.

The weights w are those of LPIPS, or 1 / the number of layers. The network's own weights are buffers
of the model: no optimizer has them, a run holds them, and gradients pass through to the decoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pinxit.data.batch import DatasetInfo
from pinxit.errors import PinxitError, UsageError
from pinxit.models.feature_network import STEPS, FeatureNetwork, load_or_train_network, network_side
from pinxit.models.packed import build_packed, freeze, pack_model
from pinxit.models.vae.lpips import LPIPSNetwork, read_lpips_weights

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images

NETWORK_STEPS = STEPS  # that it is trained
NETWORK_SEED = 1  # of the small network; that of distances has 0
EPS = 1e-8  # of a length that divides: the gradient at features of 0 stays finite
LPIPS_SPEC = {"network": "lpips"}

X = Float[Tensor, "batch channel height width"]


class PerceptualDistance(nn.Module):
    """The distance of pairs of images. `spec`: see `Config.perceptual_spec`."""

    def __init__(self, spec: dict[str, Any] | None, info: DatasetInfo) -> None:
        super().__init__()
        self.network: Any = freeze(_build_network(spec, info))

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: X, y: X) -> Float[Tensor, " batch"]:
        """Return d(x, y) of each pair of images from 0 to 1; differentiable in both."""
        layers = list(zip(*(self.network.layer_features(image) for image in (x, y)), strict=True))
        weights = getattr(self.network, "layer_weights", [1 / len(layers)] * len(layers))
        distances = [
            (weight * (_normalize(one) - _normalize(two)).square()).sum(2).mean(1)
            for weight, (one, two) in zip(weights, layers, strict=True)
        ]
        return torch.stack(distances).sum(0)


def _normalize(features: Float[Tensor, "batch position channel"]) -> Tensor:
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return features * (features.square().sum(-1, keepdim=True) + EPS).rsqrt()


def _build_network(spec: dict[str, Any] | None, info: DatasetInfo) -> nn.Module:
    if spec is None:
        with torch.random.fork_rng(devices=[]):  # do not shift the draws of the trained weights
            network = FeatureNetwork(info.channels, network_side(info), 1)
        network.head = nn.Identity()  # type: ignore[assignment]
        return network
    if spec == LPIPS_SPEC:
        return LPIPSNetwork()
    model = build_packed(spec)
    if not hasattr(model, "layer_features"):
        raise PinxitError("the model whose features this one compares has no features of layers.")
    return model


def build_perceptual(config: Any, info: DatasetInfo) -> PerceptualDistance | None:
    """Return the distance of a configuration, without its weights; None if it has no weight."""
    return PerceptualDistance(config.perceptual_spec, info) if config.perceptual else None


def prepare_perceptual(
    config: Any, info: DatasetInfo, images: Images, rows: np.ndarray, features: Any = None
) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Return the spec of the network, and the tensors of the model that hold its weights.

    `features` is the model of the run that the configuration names. Raises UsageError for a run of
    another kind, or of images of another shape, and for a file that holds no weights of LPIPS.
    """
    name = config.perceptual_features
    if name is None:
        tensors = load_or_train_network(images, rows, NETWORK_SEED, NETWORK_STEPS).state_dict()
        kept = {key: value for key, value in tensors.items() if not key.startswith("head.")}
        return None, _add_prefix(kept)
    if Path(name).is_file():
        return LPIPS_SPEC, _add_prefix(read_lpips_weights(Path(name)))
    if isinstance(features, LPIPSNetwork):  # of a run that holds them
        return LPIPS_SPEC, _add_prefix(features.state_dict())
    if not hasattr(features, "layer_features"):
        raise UsageError(
            f"--perceptual-features {name}: a perceptual loss takes the features of a masked "
            "autoencoder (pinxit train mae), or a file of LPIPS weights."
        )
    packed = pack_model(name, features, info, "masked autoencoder")
    return packed.spec, _add_prefix(packed.tensors)


def _add_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"perceptual.network.{name}": tensor.cpu().clone() for name, tensor in tensors.items()}
