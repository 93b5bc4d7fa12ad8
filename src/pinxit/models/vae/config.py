"""Options of the VAE. The comment above a field is its help on the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.models.components import are_large
from pinxit.models.config import model_config
from pinxit.models.option_effects import Need, Rule
from pinxit.models.vae.compatibility import (
    NEEDS,
    TRAINING_RULES,
    check_options,
    check_ranges,
    vector_options,
)
from pinxit.models.vae.pyramid import max_levels

MIN_GRID_POSITIONS = 8  # positions per side, by default
VALUES_PER_LATENT = 12  # pixel values per latent of a grid, by default
GRID_L1_WEIGHT = 4.0  # 0.9 dB more on unseen images after as many minutes (docs/log.md)
GRID_WIDTH = 64  # channels of the networks at twice the grid's resolution, by default
LADDER_CHANNELS = 4  # latents per position of each grid of a ladder, by default
MAX_HEAD_SIDE = 64  # of images that are sampled pixel by pixel
MAX_LINEAR_HEAD_DIMS = 4096  # 64 MB of weights
MAX_PSEUDO_INPUTS = 500  # of a VampPrior, by default, as in its paper
NORM_GROUPS = 8  # of channels, each normalized together


@model_config
@dataclass(frozen=True)
class Config:
    """A variational autoencoder. None and `auto`: chosen from the images."""

    # vector: one latent vector for the whole image; grid: a vector at each position of a grid, for
    # which few images suffice; ladder: a vector and grids of rising resolution, each with a prior
    # given the coarser ones (VDVAE, Child 2021); auto: grid for color images from 32 x 32 and grey
    # ones from 48 x 48
    latents: Literal["auto", "vector", "grid", "ladder"] = "auto"
    # levels of a ladder: a vector, and a grid at each resolution from coarse to fine; None: as many
    # as the image size allows
    levels: int | None = None
    # dimension of the latent vector; None: chosen from image size and number of images
    latent_dim: int | None = None
    # pixels per position and side of the latent grid, a power of two; None: chosen from the image
    # size
    downscale: int | None = None
    # latents per position of a grid; None: a twelfth of the values of its pixels, or 4 in a ladder
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
    # at every step; static: threshold at 1/2; auto: static where all pixels are 0 or 255, and none
    # of other likelihoods
    binarize: Literal["auto", "none", "dynamic", "static"] = "auto"
    # standard deviation of p(x|z) (gaussian), for pixels from 0 to 1; None: see --variance
    sigma: float | None = None
    # variance of p(x|z) (gaussian) without --sigma; learned: a parameter; analytic: the best one,
    # the mean squared error of the batch (sigma-VAE, Rybkin 2020); per-pixel: that of each pixel
    # and channel
    variance: Literal["learned", "analytic", "per-pixel"] = "learned"
    # mixture components (discretized-logistic)
    mixtures: int = 4
    # pixels of p(x|z); independent: given z; autoregressive: each also given a few before it, by a
    # small masked convolution (PixelVAE, Gulrajani 2016); linear: its logit is also linear in all
    # before it (bernoulli; DARN, Gregor 2014); both are sampled one pixel after another
    decoder_head: Literal["independent", "autoregressive", "linear"] = "independent"
    # weight of the KL term; 1: the ELBO
    beta: float = 1.0
    # fraction of training over which the KL weight rises from 0 to beta
    kl_warmup: float = 0.0
    # minimum KL per latent that counts in the loss, in nats (Kingma 2016)
    free_bits: float = 0.0
    # p(z); standard: N(0, I); flow: learned, a RealNVP flow of N(0, I) (Dinh 2016); vamp: the
    # mixture of the posteriors of learned images (VampPrior, Tomczak 2018)
    prior: Literal["standard", "flow", "vamp"] = "standard"
    # learned images of prior vamp, at most as many as training images; None: 500, or half as many
    # as there are images
    pseudo_inputs: int | None = None
    # q(z|x); gaussian: with a variance per latent; deterministic: one point, whose square norm / 2
    # takes the place of the KL (RAE, Ghosh 2019), so that there is no ELBO: what needs a density
    # takes it as a Gaussian of standard deviation 0.1; iaf: latents depend on one another, by an
    # inverse autoregressive flow (Kingma 2016); vmf: von Mises-Fisher on a sphere, with a uniform
    # prior (Davidson 2018)
    posterior: Literal["gaussian", "deterministic", "iaf", "vmf"] = "gaussian"
    # steps of the flow of posterior iaf; None: 2
    iaf_steps: int | None = None
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
    # importance-weighted bounds that are averaged, each of --iw-samples samples (MIWAE, Rainforth
    # 2018)
    iw_groups: int = 1
    # share of the ELBO in the bound, beside the importance-weighted one (CIWAE, Rainforth 2018)
    iw_elbo_share: float = 0.0
    # what the decoder and the prior learn from; groups: the same as the encoder; joint: one bound
    # of the samples of all groups (PIWAE, Rainforth 2018)
    iw_decoder: Literal["groups", "joint"] = "groups"
    # gradient of the importance-weighted bound for the encoder; doubly-reparameterized: the same on
    # average, with less noise for many samples (DReG, Tucker 2018)
    iw_gradient: Literal["plain", "doubly-reparameterized"] = "plain"
    # weight of the total correlation of latents, beyond that in the KL: independent latents
    # (beta-TCVAE, Chen 2018)
    total_correlation: float = 0.0
    # estimate of the total correlation; minibatch: from the posteriors of the batch; discriminator:
    # by a network that tells latents from latents shuffled over the batch (FactorVAE, Kim 2018)
    tc_estimate: Literal["minibatch", "discriminator"] = "minibatch"
    # weight of the maximum mean discrepancy between the latents of a batch and samples of the prior
    # (InfoVAE, Zhao 2017; WAE, Tolstikhin 2018: with --beta 0)
    mmd: float = 0.0
    # weight of an adversarial term between the latents of a batch and samples of the prior (AAE,
    # Makhzani 2015: with --beta 0)
    latent_adversarial: float = 0.0
    # weight of the sum of the decoder's squared weights (RAE-L2, Ghosh 2019)
    decoder_l2: float = 0.0
    # weight of the squared norm of the decoded mean's derivative in z (RAE-GP, Ghosh 2019)
    gradient_penalty: float = 0.0
    # weight of 1 - MS-SSIM between images and decoded means, for each value of an image: structure
    # counts beside the likelihood (Snell 2017)
    ms_ssim: float = 0.0
    # weight of the distance of images and decoded means in the features of a frozen network, for
    # each value of an image (LPIPS, Zhang 2018)
    perceptual: float = 0.0
    # run of a masked autoencoder, or file of LPIPS weights (VGG), whose features these are; None: a
    # small classifier's, trained on the training images before
    perceptual_features: str | None = None
    # how the network of these features is built; None: the small one
    perceptual_spec: dict[str, Any] | None = dataclasses.field(
        default=None, metadata={"internal": True}
    )
    # weight of an adversarial term on patches of decoded means, relative to the gradient of the
    # likelihood (VQGAN, Esser 2021)
    adversarial: float = 0.0
    # fraction of training after which the adversarial term takes effect
    adversarial_from: float = 0.5
    # label: encoder and decoder are conditioned on the image's label
    condition: Literal["none", "label"] = "none"
    # probability of dropping a label in training, so that the model also samples without one; 0:
    # without one it samples with a label at random
    label_dropout: float = 0.1

    option_needs: ClassVar[tuple[Need, ...]] = NEEDS
    training_rules: ClassVar[tuple[Rule, ...]] = TRAINING_RULES

    def __post_init__(self) -> None:
        check_ranges(self)
        check_options(self)

    def resolve(self, info: DatasetInfo) -> Config:
        """Return the configuration with every None and `auto` chosen from the images.

        Raises UsageError for an option that these images do not allow.
        """
        if self.condition == "label" and not info.label_names:
            raise UsageError("--condition label needs images with labels; these have none.")
        likelihood = self.likelihood
        if likelihood == "auto":
            likelihood = "bernoulli" if _is_black_and_white(info) else "gaussian"
        for name, is_given in (
            ("sigma", self.sigma is not None),
            ("l1-weight", self.l1_weight),
            ("variance", self.variance != "learned"),
        ):
            if likelihood != "gaussian" and is_given:
                raise UsageError(f"--{name} needs --likelihood gaussian; here it is {likelihood}.")
        if self.decoder_head != "independent":
            _check_head(self.decoder_head, likelihood, info)
        binarize = self.binarize
        if binarize == "auto":
            binary = "static" if info.binary_fraction == 1 else "dynamic"
            binarize = binary if likelihood == "bernoulli" else "none"
        if likelihood == "bernoulli" and binarize == "none":
            raise UsageError("--binarize none leaves grey pixels, which bernoulli does not have.")
        resolved = dataclasses.replace(
            self,
            likelihood=likelihood,
            binarize=binarize,
            pseudo_inputs=self._choose_pseudo_inputs(info),
        )
        latents = self._choose_latents(info)
        if latents == "grid":
            return resolved._resolve_grid(info)
        if latents == "ladder":
            return resolved._resolve_ladder(info)
        return resolved._resolve_vector(info)

    @property
    def num_iw_samples(self) -> int:
        """Samples of z per image, of all groups together."""
        return self.iw_samples * self.iw_groups

    def _choose_pseudo_inputs(self, info: DatasetInfo) -> int | None:
        if self.prior != "vamp":
            return self.pseudo_inputs
        if self.pseudo_inputs is None:
            return max(1, min(MAX_PSEUDO_INPUTS, info.num_images // 2))
        if self.pseudo_inputs > info.num_images:
            raise UsageError(
                f"pseudo_inputs {self.pseudo_inputs} are more than the {info.num_images} training "
                "images, from which they start; give fewer."
            )
        return self.pseudo_inputs

    def _choose_latents(self, info: DatasetInfo) -> str:
        if self.latents != "auto":
            return self.latents
        if self.levels:
            return "ladder"
        if any(is_given for _, is_given in vector_options(self)):
            return "vector"
        if self.downscale or self.latent_channels or self.equivariance:
            return "grid"
        return "grid" if are_large(info) else "vector"

    def _choose_l1_weight(self) -> float:
        if self.l1_weight is not None:
            return self.l1_weight
        return GRID_L1_WEIGHT if self.likelihood == "gaussian" and self.num_iw_samples == 1 else 0.0

    def _resolve_vector(self, info: DatasetInfo) -> Config:
        latent_dim = self.latent_dim or _choose_latent_dim(info)
        if self.posterior == "vmf" and latent_dim < 2:
            raise UsageError("posterior vmf needs 2 latents or more: a sphere has a direction.")
        network = self.network
        if network == "auto":
            network = "mlp" if info.dims <= 784 else "conv"
        return dataclasses.replace(
            self,
            latents="vector",
            l1_weight=self.l1_weight or 0.0,
            latent_dim=latent_dim,
            network=network,
            width=self.width or _choose_width(network, info),
            depth=self.depth or {"mlp": 2, "conv": 1, "linear": 1}[network],
        )

    def _resolve_ladder(self, info: DatasetInfo) -> Config:
        most = max_levels(info)
        if self.levels and self.levels > most:
            raise UsageError(
                f"levels {self.levels} is more than images of {info.height} x {info.width} allow: "
                f"the finest grid has half their resolution; at most {most}."
            )
        return dataclasses.replace(
            self,
            latents="ladder",
            levels=self.levels or most,
            l1_weight=self.l1_weight or 0.0,
            latent_dim=self.latent_dim or _choose_latent_dim(info),
            latent_channels=self.latent_channels or LADDER_CHANNELS,
            network="conv",
            width=self.width or _choose_width("conv", info),
            depth=self.depth or 1,
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


def _check_head(head: str, likelihood: str, info: DatasetInfo) -> None:
    """Raise UsageError for images and likelihoods that a head does not have."""
    if head == "linear" and likelihood != "bernoulli":
        raise UsageError(
            "--decoder-head linear gives logits of binary pixels: it needs --likelihood bernoulli; "
            f"here it is {likelihood}."
        )
    if head == "linear" and info.dims > MAX_LINEAR_HEAD_DIMS:
        raise UsageError(
            "--decoder-head linear has a weight for each two values of an image: it takes up to "
            f"{MAX_LINEAR_HEAD_DIMS:,} values, not {info.dims:,}."
        )
    if likelihood == "gaussian":
        raise UsageError(
            "--decoder-head autoregressive gives probabilities of values: it needs --likelihood "
            "bernoulli or discretized-logistic; here it is gaussian."
        )
    if max(info.height, info.width) > MAX_HEAD_SIDE:
        raise UsageError(
            f"--decoder-head {head} samples one pixel after another: it takes images of up "
            f"to {MAX_HEAD_SIDE} x {MAX_HEAD_SIDE}, not {info.height} x {info.width}."
        )


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
