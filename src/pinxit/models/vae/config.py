"""Options of the VAE. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.config import model_config


@model_config
@dataclass(frozen=True)
class Config:
    """A variational autoencoder. None and `auto`: chosen from the images."""

    # dimension of the latent z; None: chosen from image size and number of images
    latent_dim: int | None = None
    # encoder and decoder; linear: probabilistic PCA; auto: mlp to 784 values per image, else conv
    network: Literal["auto", "mlp", "conv", "linear"] = "auto"
    # hidden units (mlp), or channels at the finest resolution (conv); None: chosen from the network
    # and the image size
    width: int | None = None
    # residual blocks in encoder and decoder (mlp), or at each resolution (conv); None: 2 for mlp, 1
    # for conv
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
        for name in ("latent_dim", "width", "depth", "mixtures", "iw_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        for name in ("beta", "free_bits"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        for name in ("kl_warmup", "label_dropout", "iw_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
        if self.iw_samples > 1 and self.free_bits:
            raise UsageError("free_bits needs iw_samples 1.")
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise UsageError(f"sigma must be above 0, not {self.sigma}.")

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
        binarize = self.binarize
        if binarize == "auto":
            binarize = "static" if info.binary_fraction == 1 else "dynamic"
        network = self.network
        if network == "auto":
            network = "mlp" if info.dims <= 784 else "conv"
        return dataclasses.replace(
            self,
            latent_dim=self.latent_dim or _choose_latent_dim(info),
            network=network,
            width=self.width or _choose_width(network, info),
            depth=self.depth or {"mlp": 2, "conv": 1, "linear": 1}[network],
            likelihood=likelihood,
            binarize=binarize,
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


def _choose_width(network: str, info: DatasetInfo) -> int:
    if network == "conv":
        return 32 if info.dims <= 3 * 64 * 64 else 24
    return 256 if info.dims <= 256 else 512
