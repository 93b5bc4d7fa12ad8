"""Return types of models: losses, posteriors, bounds, captions. Imports no torch at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Float32, UInt8
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


class CaptionStep(NamedTuple):
    """A step of greedy decoding of a caption: the most probable token is appended."""

    text: str  # before this step
    candidates: list[tuple[str, float]]  # most probable tokens, "" for the end; probabilities
    attention: Float32[np.ndarray, "rows columns"]  # over the image; mean over layers and heads


class DrawingStep(NamedTuple):
    """A step of decoding an image: a code is sampled for one cell."""

    cell: tuple[int, int]  # row and column
    image: UInt8[np.ndarray, "height width channel"]  # before this step; grey: not generated yet
    patches: list[tuple[UInt8[np.ndarray, "h w channel"], float]]  # most probable ones
    chosen: UInt8[np.ndarray, "h w channel"]  # the sampled patch
    chosen_probability: float
    attention: list[tuple[str, float]]  # to each token of the caption; mean over layers and heads
