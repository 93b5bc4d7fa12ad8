"""The variational autoencoder as a torch module."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo, Seed
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.generation import LEVELS, SEEDED, GenerationParams, resolve_params
from pinxit.models.inputs import check_images, choose_sample_labels
from pinxit.models.levels import latent_temperatures
from pinxit.models.results import Elbo, LatentPosterior, Loss
from pinxit.models.vae.autoregressive_likelihood import (
    Autoregressive,
    build_decoder_likelihood,
    of_pixels,
    sample_likelihood,
)
from pinxit.models.vae.compatibility import check_temperature, whole_batch_options
from pinxit.models.vae.config import Config
from pinxit.models.vae.discriminators import build_discriminators
from pinxit.models.vae.grid_networks import ladder_levels, latent_shape
from pinxit.models.vae.importance import (
    ImportanceWeights,
    fast_log_weights,
    supports_fast_importance,
)
from pinxit.models.vae.inference import draw, log_weights, point_terms
from pinxit.models.vae.likelihoods import Bernoulli, Gaussian, describe_likelihood
from pinxit.models.vae.loss import training_loss
from pinxit.models.vae.networks import build_networks
from pinxit.models.vae.perceptual import build_perceptual
from pinxit.models.vae.posteriors import BatchPosterior, GaussianPosterior, build_posterior
from pinxit.models.vae.vamp_prior import build_prior
from pinxit.nn.batching import BATCH_SIZE, map_in_fixed_batches
from pinxit.nn.image_seeds import Draw, draw_uniforms, image_seeds
from pinxit.nn.layers import set_label_dropout
from pinxit.nn.pixels import to_float, to_uint8
from pinxit.nn.rng import mix_seed, per_image_normal, per_image_seeds

X = Float[Tensor, "batch channel height width"]
Z = Float[Tensor, "batch latent"]
FlatOrGrid = Float[Tensor, "batch *latent"]
Params = Float[Tensor, "batch out height width"]
Labels = Int64[Tensor, " batch"] | None
Weights = Float[Tensor, "batch samples"]  # logarithms
Pixels = UInt8[Tensor, "batch height width channel"]
L = TypeVar("L", Tensor, np.ndarray)


class VAE(nn.Module):
    """encoder -> (mean, log-variance) -> z -> decoder -> parameters of p(x|z)."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        self.config = config
        self.info = info
        self.latent_shape = latent_shape(config, info)
        self.latent_dim = math.prod(self.latent_shape)
        self.level_shapes = ladder_levels(config, info) if config.latents == "ladder" else ()
        self.likelihood = build_decoder_likelihood(config, info)
        self.prior = build_prior(config, info, self.latent_dim, self.posterior)
        self.encoder, self.decoder = build_networks(config, info, self.likelihood.out_channels)
        set_label_dropout(self, config.label_dropout)
        self.posteriors = build_posterior(config, self.latent_dim)
        self.discriminators = build_discriminators(config, info, self.latent_dim)
        self.perceptual = build_perceptual(config, info)
        self.has_point_posterior = config.posterior == "deterministic"
        self.whole_batch_options = whole_batch_options(config)
        self.eight_bit = self.likelihood.eight_bit
        self.binary_pixels = isinstance(of_pixels(self.likelihood), Bernoulli)
        self.decoder_sigma_is_learned = config.sigma is None
        self.mean_is_differentiable = not isinstance(self.likelihood, Autoregressive)
        self.label_conditional = config.condition == "label"
        self.posterior_is_gaussian = self.posteriors.is_gaussian and len(self.level_shapes) < 2
        self.prior_is_learned = config.prior != "standard" or config.posterior == "vmf"
        self.likelihood_description = describe_likelihood(config)

    # -- the equations ------------------------------------------------------------------------

    def observe(self, batch: Batch, seeds: Sequence[int] | None = None) -> X:
        """Return the images as the likelihood takes them: binarized, dequantized or 8-bit.

        With `seeds`, one per image, the random numbers of an image depend on its own seed only.
        """
        return self.likelihood.observe(batch.pixels, seeds)

    def binarize(self, pixels: Pixels, seeds: Sequence[int]) -> Pixels:
        """Return the images as `observe` shows them: black and white if the likelihood is."""
        if not self.binary_pixels:
            return pixels
        x = self.likelihood.observe(pixels, seeds)
        return (255 * x).to(torch.uint8).permute(0, 2, 3, 1)

    def q(self, x: X, labels: Labels = None) -> BatchPosterior:
        """Return q(z|x) of the images of a batch."""
        return self.posteriors(self._encoder_outputs(x, labels))

    def _encoder_outputs(self, x: X, labels: Labels) -> Tensor:
        return self.encoder(self.standardize(x), labels)

    def posterior(self, x: X, labels: Labels = None) -> tuple[Z, Z]:
        """Return the mean and log-variance of q(z|x), which is a Gaussian."""
        q = self.q(x, labels)
        assert isinstance(q, GaussianPosterior), "see posterior_is_gaussian"
        return q.mean, q.logvar

    def standardize(self, x: X) -> X:
        """Return the images as the encoder takes them."""
        return (x - self.info.mean) / max(self.info.std, 0.05)

    def decode_params(self, z: FlatOrGrid, labels: Labels = None) -> Params:
        """Return the parameters of p(x|z)."""
        return self.shift_params(self.decoder(z, labels))

    def shift_params(self, outputs: Params) -> Params:
        """Return parameters of p(x|z) from the decoder's outputs.

        A Gaussian's mean starts at the grey of the mean image, not at black.
        """
        params = outputs.float()
        return params + self.info.mean if isinstance(self.likelihood, Gaussian) else params

    def fit_log_prob(self, params: Tensor, x: Tensor, *, is_recorded: bool = True) -> Tensor:
        """log p(x|z); in training with the variance that fits this batch, if it is analytic."""
        if self.training and isinstance(self.likelihood, Gaussian):
            sigma = self.likelihood.update(params.detach(), x, is_recorded=is_recorded)
            return self.likelihood.log_prob(params, x, sigma)
        return self.likelihood.log_prob(params, x)

    def elbo(self, x: X, labels: Labels, seeds: Sequence[int] | None = None) -> Elbo:
        """Return distortion and rate of each image, with one reparameterized z (eq. 10).

        With `seeds`, one per image, the z of an image depends on its own seed only.
        """
        drawn = draw(self, x, labels, self._noise((len(x), self.latent_dim), seeds))
        params = self.decode_params(drawn.z, labels) if drawn.decoded is None else drawn.decoded
        return Elbo(-self.likelihood.log_prob(params, x), drawn.rate)

    def point_terms(self, x: X, labels: Labels) -> Elbo:
        """Return the distortion of the decoded mean, and what a point has in place of the KL."""
        return point_terms(self, x, labels)

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """-ELBO, or the importance-weighted bound, with what the options add: see `loss`."""
        return training_loss(self, batch, progress)

    def visible(self, labels: L | None) -> L | None:
        """Return the labels if the model is conditioned on them, else None."""
        return labels if self.label_conditional else None

    def _noise(self, shape: tuple[int, ...], seeds: Sequence[int] | None) -> Tensor:
        """Standard normal noise `[batch, ...]`; with `seeds` that of an image is its own."""
        if seeds is None:
            return torch.randn(shape, device=self.device)
        return per_image_normal(shape[0], shape[1:], seeds).to(self.device)

    def log_weights(
        self,
        x: X,
        labels: Labels,
        samples: int,
        seeds: Sequence[int] | None = None,
        defensive_share: float = 0.0,
    ) -> Weights:
        """log p(x, z) - log q(z|x) at samples z of q; their log-mean-exp estimates log p(x).

        (Burda 2015, eq. 8.) With a `defensive_share` q is a mixture, see `propose`. With `seeds`,
        one per image, the samples of an image are its own. The reference: it decodes every sample.
        """
        noise = self._noise((len(x), samples, self.latent_dim), seeds)
        uniforms = None
        if defensive_share:
            # other seeds than those of the noise
            own = None if seeds is None else [mix_seed(seed, 1) for seed in seeds]
            shape = (len(x), samples)
            uniforms = torch.rand(shape) if own is None else draw_uniforms(shape, own)
            uniforms = uniforms.to(self.device)
        return log_weights(self, x, labels, noise, uniforms, defensive_share)

    def importance_log_weights(
        self,
        x: X,
        labels: Labels,
        samples: int,
        seeds: Sequence[int],
        defensive_share: float = 0.0,
    ) -> Weights | None:
        """Compute `log_weights` faster; None if the model is unsupported."""
        is_supported = supports_fast_importance(self.decoder, self.likelihood, samples)
        if not (self.posterior_is_gaussian and is_supported):
            return None
        with torch.inference_mode():
            posterior = self.posterior(x, labels)
        parts = (x, labels, posterior, self.decoder, self.prior, self.likelihood)
        make = partial(ImportanceWeights, *parts)
        return fast_log_weights(make, x.device, samples, seeds, defensive_share)

    # -- abilities ----------------------------------------------------------------------------

    @property
    def decoder_sigma(self) -> float | None:
        """Standard deviation of a Gaussian p(x|z), on the scale 0 to 1; None: not Gaussian."""
        return self.likelihood.mean_sigma if isinstance(self.likelihood, Gaussian) else None

    @property
    def decoder_sigma_per_pixel(self) -> np.ndarray | None:
        """`decoder_sigma` of each value, `[height, width, channel]`; None if all have one."""
        return self.likelihood.sigma_per_pixel if isinstance(self.likelihood, Gaussian) else None

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Images:
        """Sample n images: the mean of p(x|z), of an autoregressive head a sample, z of the prior.

        Image i is a function of (seed, start + i). `temperature` scales the noise: below 1 the
        images are less diverse, at 0 all are the same; `level_temperatures` those of each level of
        a ladder. Raises UsageError for a value out of range or an unknown label.
        """
        if n < 1:
            raise UsageError(f"the number of images must be at least 1, not {n}.")
        resolved = resolve_params(params, options, LEVELS if self.level_shapes else SEEDED)
        check_temperature(self.config, resolved)
        scale = latent_temperatures(self.level_shapes, self.latent_dim, resolved)
        seeds = per_image_seeds(resolved.seed, n, resolved.start)
        labels = choose_sample_labels(self.config, self.info, label, seeds)
        noise = torch.from_numpy(scale) * per_image_normal(n, (self.latent_dim,), seeds)
        if isinstance(self.likelihood, Autoregressive) and scale.any():
            pixel_seeds = [mix_seed(own, 1) for own in seeds]
            return self.sample_pixels(self.from_noise(noise.numpy()), labels, seed=pixel_seeds)
        return self._decode_to_images(self.prior.transform, noise, labels)

    @torch.inference_mode()
    def encode(self, images: Images) -> LatentPosterior:
        """Return q(z|x), with its mean and standard deviation; deterministic.

        `[n, latent]`, or `[n, channel, row, column]` of a grid of latents.
        """
        parts = map_in_fixed_batches(self._encode, *self._pixels_and_labels(images))
        return self.posteriors.collect(parts, self.latent_shape)

    def _encode(self, pixels: Tensor, labels: Labels) -> tuple[Tensor, ...]:
        x = self._mean_observation(pixels.to(self.device))
        labels = None if labels is None else labels.to(self.device)
        return self.posteriors.tensors(self._encoder_outputs(x, labels))

    def pixels_to_posterior(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation of q(z|x), `[batch, *latent_shape]`."""
        mean, logvar = self.posterior(self._mean_observation(pixels))
        std = (0.5 * logvar).exp()
        return mean.unflatten(1, self.latent_shape), std.unflatten(1, self.latent_shape)

    def latents_to_pixels(self, z: Tensor) -> Pixels:
        """Return the mean of p(x|z) as pixels, for z `[batch, *latent_shape]`."""
        return to_uint8(self.mean_image(z.flatten(1)))

    def mean_image(self, z: Z, labels: Labels = None) -> X:
        """Return the mean of p(x|z), pixels from 0 to 1; differentiable in z."""
        return self.likelihood.mean(self.decode_params(z, labels))

    def _mean_observation(self, pixels: Tensor) -> X:
        """Return the expectation of `observe`, without its randomness."""
        likelihood = of_pixels(self.likelihood)
        if isinstance(likelihood, Bernoulli) and likelihood.dynamic:
            return to_float(pixels)
        if isinstance(self.likelihood, Gaussian):
            return (pixels.permute(0, 3, 1, 2) + 0.5) / 256
        return self.likelihood.observe(pixels)

    @torch.inference_mode()
    def decode(self, z: np.ndarray, labels: np.ndarray | None = None) -> Images:
        """Decode latents, as `encode` returns them or as `[n, latent]`: the mean of p(x|z).

        Raises UsageError for an array of another shape.
        """
        z = np.asarray(z, np.float32)
        if z.shape[1:] not in (self.latent_shape, (self.latent_dim,)):
            sizes = ", ".join(map(str, self.latent_shape))
            raise UsageError(f"latents must be [n, {sizes}], not {list(z.shape)}.")
        rows = torch.from_numpy(z.reshape(len(z), self.latent_dim))
        return self._decode_to_images(lambda rows: rows, rows, labels)

    def _decode_to_images(
        self, to_z: Callable[[Tensor], Tensor], noise: Tensor, labels: np.ndarray | None
    ) -> Images:
        def decode(rows: Tensor, labels: Labels) -> Tensor:
            return to_uint8(self.mean_image(to_z(rows.to(self.device)), labels)).cpu()

        on_device = None if labels is None else torch.as_tensor(labels, device=self.device)
        return Images(map_in_fixed_batches(decode, noise, on_device)[0].numpy())

    @torch.inference_mode()
    def decode_means(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the means of p(x|z) in grey levels, neither rounded nor cut off at 0 and 255.

        float32 `[n, height, width, channel]`, for flat latents `[n, latent]`.
        """

        def decode(rows: Tensor, labels: Labels) -> Tensor:
            return (255 * self.mean_image(rows.to(self.device), labels)).permute(0, 2, 3, 1).cpu()

        rows = torch.from_numpy(np.asarray(z, np.float32))
        on_device = None if labels is None else torch.as_tensor(labels, device=self.device)
        return map_in_fixed_batches(decode, rows, on_device)[0].numpy()

    @torch.inference_mode()
    def sample_pixels(
        self, z: np.ndarray, labels: np.ndarray | None = None, *, seed: Seed = 0
    ) -> Images:
        """Sample p(x|z): the decoded mean with the decoder's own noise, cut off at black and white.

        Image i is a function of z_i and (seed, i). `z` and `labels` are those of `decode`.
        """
        seeds = per_image_seeds(seed, len(z))

        def draw(rows: Tensor, labels: Labels, numbers: Tensor) -> Tensor:
            params = self.decode_params(rows.to(self.device), labels)
            own = [seeds[int(number)] for number in numbers]
            return to_uint8(sample_likelihood(self.likelihood, params, own)).cpu()

        rows = torch.from_numpy(np.asarray(z, np.float32).reshape(len(z), self.latent_dim))
        on_device = None if labels is None else torch.as_tensor(labels, device=self.device)
        pixels = map_in_fixed_batches(draw, rows, on_device, torch.arange(len(rows)))[0]
        return Images(pixels.numpy())

    @torch.inference_mode()
    def from_noise(self, noise: np.ndarray) -> np.ndarray:
        """Map standard normal noise `[n, latent]` to latents of the prior, as `sample` does."""
        return self.prior.transform(torch.tensor(noise, device=self.device).float()).cpu().numpy()

    @torch.inference_mode()
    def to_noise(self, z: np.ndarray) -> np.ndarray:
        """Map latents `[n, latent]` to the noise that gives them: the inverse of `from_noise`."""
        rows = torch.from_numpy(np.asarray(z, np.float32)).to(self.device)
        return self.prior.inverse(rows)[0].cpu().numpy()

    def reconstruct(self, images: Images) -> Images:
        """Encode each image and decode the mean of q(z|x)."""
        return self.decode(self.encode(images).mean, self.visible(images.labels))

    def embed(self, images: Images) -> np.ndarray:
        """Return the mean of q(z|x), `[n, latent]`; it does not depend on the labels of images."""
        unlabelled = dataclasses.replace(images, labels=None)
        return self.encode(unlabelled).mean.reshape(len(images), self.latent_dim)

    likelihood_is_exact = False
    max_scored_images = None

    @torch.inference_mode()
    def score(self, images: Images, *, samples: int = 1, seed: int = 0) -> np.ndarray:
        """Lower bound of log p(x) in nats, `[n]`: the ELBO for 1 sample, above it the IW bound.

        It is a bound on average over the samples: an estimate is above log p(x) + b with a
        probability of at most exp(-b). The score of an image is a function of its pixels, its name
        and `seed`: it does not depend on the other images.
        """
        pixels, labels = self._pixels_and_labels(images)
        seeds = image_seeds(images, seed, Draw.OBSERVATION)
        x = self.observe(Batch(pixels.to(self.device)), seeds)
        draw = Draw.IMPORTANCE if samples > 1 else Draw.ELBO
        noise = self._noise((len(x), samples, self.latent_dim), image_seeds(images, seed, draw))

        def iw_bound(x: Tensor, labels: Labels, noise: Tensor) -> Tensor:
            weights = log_weights(self, x, labels, noise).double()
            return weights.logsumexp(1) - math.log(samples)

        size = max(1, BATCH_SIZE // samples)
        bounds = map_in_fixed_batches(iw_bound, x, labels, noise, batch_size=size)[0]
        return bounds.cpu().numpy()

    def _pixels_and_labels(self, images: Images) -> tuple[Tensor, Labels]:
        labels = self.visible(images.labels)
        return check_images(self.info, images), None if labels is None else torch.from_numpy(labels)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
