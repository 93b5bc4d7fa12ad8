"""Return types of models: losses, posteriors, bounds, captions. Imports no torch at run time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Float32, Float64, UInt8
    from torch import Tensor


LOG_2PI = math.log(2 * math.pi)


class Loss(NamedTuple):
    """The scalar to minimise, and its parts under the paper's names, in `unit`."""

    total: Tensor  # scalar
    parts: dict[str, Tensor]  # scalars, detached
    unit: str = "nats per image"


class LatentPosterior(Protocol):
    """q(z|x) of each of n images, whatever its family; noise is standard normal `[n, latent]`."""

    @property
    def mean(self) -> Float32[np.ndarray, "n ..."]:
        """The point that a reconstruction decodes: of a Gaussian its mean."""
        ...

    @property
    def std(self) -> Float32[np.ndarray, "n ..."]:
        """Standard deviation of each latent."""
        ...

    is_gaussian: bool
    has_lebesgue_density: bool  # not on a surface: densities over all latents compare with it

    def flatten(self) -> LatentPosterior:
        """Return it as `[n, latent]`."""
        ...

    def take(self, rows: np.ndarray) -> LatentPosterior:
        """Return the posteriors of these images."""
        ...

    def draw(
        self, noise: Float[np.ndarray, "n latent"]
    ) -> tuple[Float64[np.ndarray, "n latent"], Float64[np.ndarray, " n"]]:
        """Return a sample of each posterior, and log q(z|x) there, in nats."""
        ...

    def log_prob(self, z: Float[np.ndarray, "m latent"]) -> Float64[np.ndarray, "m n"]:
        """log q(z_i|x_j) of each z and each image, in nats."""
        ...

    @property
    def flops_per_pair(self) -> float:
        """Floating-point operations of one density of `log_prob`."""
        ...


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x) of each image: `[n, latent]`, or a grid `[n, channel, h, w]`."""

    mean: Float32[np.ndarray, "n ..."]
    std: Float32[np.ndarray, "n ..."]

    is_gaussian = True
    has_lebesgue_density = True

    def flatten(self) -> Posterior:
        """Return it as `[n, latent]`."""
        return Posterior(*(values.reshape(len(values), -1) for values in self))

    def take(self, rows: np.ndarray) -> Posterior:
        """Return the posteriors of these images."""
        return Posterior(self.mean[rows], self.std[rows])

    def draw(
        self, noise: Float[np.ndarray, "n latent"]
    ) -> tuple[Float64[np.ndarray, "n latent"], Float64[np.ndarray, " n"]]:
        """Return a sample of each posterior, and log q(z|x) there, in nats."""
        import numpy as np

        mean, std = (part.astype("float64") for part in self.flatten())
        log_q = -0.5 * (noise.astype("float64") ** 2 + LOG_2PI).sum(1) - np.log(std).sum(1)
        return mean + std * noise, log_q

    def log_prob(self, z: Float[np.ndarray, "m latent"]) -> Float64[np.ndarray, "m n"]:
        """log q(z_i|x_j) of each z and each image, in nats: by matrix products."""
        import numpy as np

        mean, std = (part.astype("float64") for part in self.flatten())
        z, precision = z.astype("float64"), std**-2
        offset = -0.5 * (mean**2 * precision + LOG_2PI).sum(1) - np.log(std).sum(1)
        return z @ (mean * precision).T - 0.5 * z**2 @ precision.T + offset

    @property
    def flops_per_pair(self) -> float:
        """Floating-point operations of one density of `log_prob`."""
        return 4.0 * self.flatten().mean.shape[1]


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
