"""Options of variational autoencoders."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Config:
    """A variational autoencoder: what is None or `auto` is chosen from the images."""

    # numbers in an image's latent z; None: chosen from size and number of images
    latent_dim: int | None = None
    # linear is probabilistic PCA; auto: mlp up to 784 numbers an image, conv above
    network: Literal["auto", "mlp", "conv", "linear"] = "auto"
    # hidden units (mlp) or channels at the finest resolution (conv); None: chosen
    width: int | None = None
    # residual blocks in each half (mlp), or at each resolution (conv); None: chosen
    depth: int | None = None
    # what p(x given z) is; auto: bernoulli for black-and-white images, gaussian for others
    likelihood: Literal["auto", "bernoulli", "gaussian", "discretized-logistic"] = "auto"
    # for bernoulli: dynamic draws each pixel anew with its grey value as probability, static
    # cuts at one half; auto: static where all pixels are 0 or 255
    binarize: Literal["auto", "dynamic", "static"] = "auto"
    # standard deviation of the gaussian on a scale of 0 to 1; None: learned
    sigma: float | None = None
    # logistics in the mixture of discretized-logistic
    mixtures: int = 4
    # weight of the KL term; 1 is the ELBO
    beta: float = 1.0
    # share of the training budget over which the KL's weight rises from 0 to beta
    kl_warmup: float = 0.0
    # nats a latent may use before its KL counts (Kingma 2016); 0: none
    free_bits: float = 0.0
    # p(z): standard is N(0, I); flow is N(0, I) behind a learned invertible map (Dinh 2016)
    prior: Literal["standard", "flow"] = "standard"
    # samples of z in the bound that is trained; above 1 it is the importance-weighted one, tighter
    # and dearer (Burda 2015, eq. 8)
    iw_samples: int = 1
    # share of the budget after which iw_samples are drawn; before, one
    iw_from: float = 0.6
    # label: both halves see the image's label
    condition: Literal["none", "label"] = "none"
    # share of training images whose label is hidden, so that one model also paints without
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
                raise UsageError(f"{name} is a share from 0 to 1, not {getattr(self, name)}.")
        if self.iw_samples > 1 and self.free_bits:
            raise UsageError("free_bits and iw_samples above 1 do not go together.")
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise UsageError(f"sigma must be above 0, not {self.sigma}.")

    def resolve(self, info: DatasetInfo) -> Config:
        """The same with every open choice made from the images.

        Raises UsageError where the images do not allow what was asked.
        """
        if self.condition == "label" and not info.label_names:
            raise UsageError("--condition label needs images with labels; these have none.")
        likelihood = self.likelihood
        if likelihood == "auto":
            likelihood = "bernoulli" if _black_and_white(info) else "gaussian"
        if likelihood != "gaussian" and self.sigma is not None:
            raise UsageError(f"--sigma is the gaussian's; the likelihood here is {likelihood}.")
        binarize = self.binarize
        if binarize == "auto":
            binarize = "static" if info.binary_fraction == 1 else "dynamic"
        network = self.network
        if network == "auto":
            network = "mlp" if info.dims <= 784 else "conv"
        return dataclasses.replace(
            self,
            latent_dim=self.latent_dim or _latent_dim(info),
            network=network,
            width=self.width or _width(network, info),
            depth=self.depth or {"mlp": 2, "conv": 1, "linear": 1}[network],
            likelihood=likelihood,
            binarize=binarize,
        )


def _black_and_white(info: DatasetInfo) -> bool:
    """Grey images of ink on paper: at least 3 in 4 pixels nearly black or nearly white."""
    return info.channels == 1 and info.binary_fraction > 0.5 and info.near_binary_fraction >= 0.85


def _latent_dim(info: DatasetInfo) -> int:
    """About the square root of what an image holds, a power of two from 8 to 256."""
    wanted = 2 * math.sqrt(info.dims)
    if info.count < 1000:  # few images fill few dimensions
        wanted = min(wanted, 32)
    return int(min(256, max(8, 2 ** round(math.log2(wanted)))))


def _width(network: str, info: DatasetInfo) -> int:
    """Hidden units, or channels at the finest resolution."""
    if network == "conv":
        return 32 if info.dims <= 3 * 64 * 64 else 24
    return 256 if info.dims <= 256 else 512
