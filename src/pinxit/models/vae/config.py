"""Options of the VAE. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.components import are_large
from pinxit.models.config import model_config

MIN_GRID_POSITIONS = 8  # positions per side, by default
VALUES_PER_LATENT = 12  # pixel values per latent of a grid, by default
GRID_L1_WEIGHT = 4.0  # 0.9 dB more on unseen images after as many minutes (docs/log.md)
GRID_WIDTH = 64  # channels of the networks at twice the grid's resolution, by default
NORM_GROUPS = 8  # of channels, each normalized together


@model_config
@dataclass(frozen=True)
class Config:
    """A variational autoencoder. None and `auto`: chosen from the images."""

    # vector: one latent vector for the whole image; grid: a vector at each position of a grid, for
    # which few images suffice; auto: grid for color images from 32 x 32 and grey ones from 48 x 48
    latents: Literal["auto", "vector", "grid"] = "auto"
    # dimension of the latent vector; None: chosen from image size and number of images
    latent_dim: int | None = None
    # pixels per position and side of the latent grid, a power of two; None: chosen from the image
    # size
    downscale: int | None = None
    # latents per position of the grid; None: a twelfth of the values of its pixels
    latent_channels: int | None = None
    # encoder and decoder; linear: probabilistic PCA; auto: mlp to 784 values per image, else conv
    network: Literal["auto", "mlp", "conv", "linear"] = "auto"
    # hidden units (mlp), or channels at the finest resolution (conv); None: chosen from the network
    # and the image size
    width: int | None = None
    # residual blocks in encoder and decoder (mlp), or at each resolution (conv); None: 1 for conv
    # with a vector of latents, else 2
    depth: int | None = None
    # p(x|z); auto: bernoulli for black-and-white images, else gaussian
    likelihood: Literal["auto", "bernoulli", "gaussian", "discretized-logistic"] = "auto"
    # binarization (bernoulli); dynamic: sample each pixel with its grey value as probability, anew
    # at every step; static: threshold at 1/2; auto: static where all pixels are 0 or 255
    binarize: Literal["auto", "dynamic", "static"] = "auto"
    # standard deviation of p(x|z) (gaussian), for pixels from 0 to 1; None: learned
    sigma: float | None = None
    # mixture components (discretized-logistic)
    mixtures: int = 4
    # weight of the KL term; 1: the ELBO
    beta: float = 1.0
    # fraction of training over which the KL weight rises from 0 to beta
    kl_warmup: float = 0.0
    # minimum KL per latent that counts in the loss, in nats (Kingma 2016)
    free_bits: float = 0.0
    # p(z); standard: N(0, I); flow: learned, a RealNVP flow of N(0, I) (Dinh 2016)
    prior: Literal["standard", "flow"] = "standard"
    # weight of the absolute error of pixels from 0 to 1 beside the likelihood, summed over pixels
    # (gaussian): edges count more than by squared error alone; None: 4 for a grid, 0 for a vector
    l1_weight: float | None = None
    # share of training images whose grid of latents is flipped, turned or halved before it is
    # decoded, and compared with the image changed alike: latents that are easier to model (EQ-VAE,
    # Kouzelis 2025)
    equivariance: float = 0.0
    # samples of z per image in the training bound; above 1: the importance-weighted bound, tighter
    # and slower (IWAE, Burda 2015)
    iw_samples: int = 1
    # fraction of training after which --iw-samples takes effect; before it, 1 sample
    iw_from: float = 0.6
    # label: encoder and decoder are conditioned on the image's label
    condition: Literal["none", "label"] = "none"
    # probability of dropping a label in training, so that the model also samples without one
    label_dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in (
            "latent_dim", "latent_channels", "width", "depth", "mixtures", "iw_samples",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        for name in ("beta", "free_bits", "l1_weight"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        for name in ("kl_warmup", "label_dropout", "iw_from", "equivariance"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
        if self.downscale is not None and (self.downscale < 2 or self.downscale.bit_count() != 1):
            raise UsageError(f"downscale must be a power of two from 2 on, not {self.downscale}.")
        self._check_latents()
        for name in ("free_bits", "l1_weight", "equivariance"):
            if self.iw_samples > 1 and getattr(self, name):
                raise UsageError(f"{name} needs iw_samples 1.")
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise UsageError(f"sigma must be above 0, not {self.sigma}.")

    def _check_latents(self) -> None:
        """Raises UsageError for options of the other kind of latents."""
        if self.latents == "grid":
            if self.latent_dim is not None:
                raise UsageError("latent_dim is of a vector; a grid has latent_channels.")
            if self.network not in ("auto", "conv"):
                raise UsageError(f"a grid of latents needs network conv, not {self.network}.")
            if self.prior == "flow":
                raise UsageError("prior flow needs a vector of latents; these are a grid.")
        elif self.latents == "vector":
            for name in ("downscale", "latent_channels", "equivariance"):
                if getattr(self, name):
                    raise UsageError(f"{name} is of a grid of latents; these are a vector.")

    def resolve(self, info: DatasetInfo) -> Config:
        """Return the configuration with every None and `auto` chosen from the images.

        Raises UsageError for an option that these images do not allow.
        """
        if self.condition == "label" and not info.label_names:
            raise UsageError("--condition label needs images with labels; these have none.")
        likelihood = self.likelihood
        if likelihood == "auto":
            likelihood = "bernoulli" if _is_black_and_white(info) else "gaussian"
        if likelihood != "gaussian" and self.sigma is not None:
            raise UsageError(f"--sigma needs --likelihood gaussian; here it is {likelihood}.")
        if likelihood != "gaussian" and self.l1_weight:
            raise UsageError(f"--l1-weight needs --likelihood gaussian; here it is {likelihood}.")
        binarize = self.binarize
        if binarize == "auto":
            binarize = "static" if info.binary_fraction == 1 else "dynamic"
        resolved = dataclasses.replace(self, likelihood=likelihood, binarize=binarize)
        if self._choose_latents(info) == "grid":
            return resolved._resolve_grid(info)
        return resolved._resolve_vector(info)

    def _choose_latents(self, info: DatasetInfo) -> str:
        if self.latents != "auto":
            return self.latents
        if self.latent_dim or self.network in ("mlp", "linear") or self.prior == "flow":
            return "vector"
        if self.downscale or self.latent_channels or self.equivariance:
            return "grid"
        return "grid" if are_large(info) else "vector"

    def _choose_l1_weight(self) -> float:
        if self.l1_weight is not None:
            return self.l1_weight
        return GRID_L1_WEIGHT if self.likelihood == "gaussian" and self.iw_samples == 1 else 0.0

    def _resolve_vector(self, info: DatasetInfo) -> Config:
        network = self.network
        if network == "auto":
            network = "mlp" if info.dims <= 784 else "conv"
        return dataclasses.replace(
            self,
            latents="vector",
            l1_weight=self.l1_weight or 0.0,
            latent_dim=self.latent_dim or _choose_latent_dim(info),
            network=network,
            width=self.width or _choose_width(network, info),
            depth=self.depth or {"mlp": 2, "conv": 1, "linear": 1}[network],
        )

    def _resolve_grid(self, info: DatasetInfo) -> Config:
        downscale = self.downscale or _choose_downscale(info)
        if downscale > min(info.height, info.width):
            raise UsageError(
                f"downscale {downscale} is larger than these images of "
                f"{info.height} x {info.width}."
            )
        width = self.width or GRID_WIDTH
        if width % NORM_GROUPS:
            raise UsageError(f"width must be a multiple of {NORM_GROUPS} for a grid, not {width}.")
        return dataclasses.replace(
            self,
            latents="grid",
            downscale=downscale,
            l1_weight=self._choose_l1_weight(),
            latent_channels=self.latent_channels or _choose_latent_channels(info, downscale),
            network="conv",
            width=width,
            depth=self.depth or 2,
        )


def _is_black_and_white(info: DatasetInfo) -> bool:
    """Return whether the images are grey and most pixels are black or white."""
    return info.channels == 1 and info.binary_fraction > 0.5 and info.near_binary_fraction >= 0.85


def _choose_latent_dim(info: DatasetInfo) -> int:
    """Return the power of two nearest to 2 sqrt(dims), from 8 to 256; at most 32 for few images."""
    target = 2 * math.sqrt(info.dims)
    if info.num_images < 1000:
        target = min(target, 32)
    return int(min(256, max(8, 2 ** round(math.log2(target)))))


def _choose_downscale(info: DatasetInfo) -> int:
    """Return the largest power of two, up to 16, that leaves a grid of 8 x 8.

    At 128 x 128 a flow on 8 x 8 positions has learned whole things when one on 16 x 16 knows
    textures (docs/log.md).
    """
    side = min(info.height, info.width)
    return max(2, min(16, 2 ** int(math.log2(max(2, side / MIN_GRID_POSITIONS)))))


def _choose_latent_channels(info: DatasetInfo, downscale: int) -> int:
    """Return the power of two nearest to a twelfth of the values of a position, from 4 to 32."""
    target = info.channels * downscale**2 / VALUES_PER_LATENT
    return int(min(32, max(4, 2 ** round(math.log2(target)))))


def _choose_width(network: str, info: DatasetInfo) -> int:
    if network == "conv":
        return 32 if info.dims <= 3 * 64 * 64 else 24
    return 256 if info.dims <= 256 else 512
