"""Return types of models: losses, posteriors, bounds, captions. Imports no torch at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Float32
    from torch import Tensor


class Loss(NamedTuple):
    """The scalar to minimise, and its parts under the paper's names, in `unit`."""

    total: Tensor  # scalar
    parts: dict[str, Tensor]  # scalars, detached
    unit: str = "nats per image"


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x) of each image: `[n, latent]`, or a grid `[n, channel, h, w]`."""

    mean: Float32[np.ndarray, "n ..."]
    std: Float32[np.ndarray, "n ..."]

    def flatten(self) -> Posterior:
        """Return it as `[n, latent]`."""
        return Posterior(*(values.reshape(len(values), -1) for values in self))


class Elbo(NamedTuple):
    """The two terms of the evidence lower bound, per image, in nats."""

    distortion: Float[Tensor, " batch"]  # -log p(x|z)
    rate: Float[Tensor, "batch latent"]  # KL(q(z|x) || p(z)), per latent


class ScoredText(NamedTuple):
    """A generated text and its log-probability in nats."""

    text: str
    log_prob: float


class TokenAttention(NamedTuple):
    """A text token and its cross-attention with each cell of an image."""

    token: str
    weights: Float32[np.ndarray, "rows columns"]  # mean over layers and heads
