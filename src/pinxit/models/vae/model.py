"""The variational autoencoder as a torch module."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.generation import SEEDED, GenerationParams, resolve_params
from pinxit.models.inputs import class_of, pixels_for
from pinxit.models.results import Elbo, ImportanceEstimate, Loss, Posterior
from pinxit.models.vae.config import Config
from pinxit.models.vae.importance import importance_log_likelihood
from pinxit.models.vae.likelihoods import Bernoulli, Gaussian, describe, likelihood
from pinxit.models.vae.networks import networks
from pinxit.models.vae.priors import log_normal, prior
from pinxit.nn.chunking import CHUNK, map_in_fixed_batches
from pinxit.nn.pixels import to_float, to_uint8
from pinxit.nn.rng import mix_seed, per_image_normal

X = Float[Tensor, "batch channel height width"]
Z = Float[Tensor, "batch latent"]
Labels = Int64[Tensor, " batch"] | None


class VAE(nn.Module):
    """encoder -> (mean, log-variance) -> z -> decoder -> parameters of the likelihood."""

    def __init__(self, config: Config, info: DatasetInfo) -> None:
        super().__init__()
        assert config.latent_dim is not None, "a resolved configuration"
        self.config = config
        self.info = info
        self.latent_dim: int = config.latent_dim
        self.likelihood = likelihood(config, info)
        self.prior = prior(config.prior, self.latent_dim)
        self.encoder, self.decoder = networks(config, info, self.likelihood.outputs)
        self.eight_bit = self.likelihood.eight_bit
        self.label_conditional = config.condition == "label"
        self.likelihood_description = describe(config)

    # -- the equations ------------------------------------------------------------------------

    def observe(self, batch: Batch, generator: torch.Generator | None = None) -> X:
        """The images as the likelihood sees them: binarized, dequantized or 8-bit."""
        return self.likelihood.observe(batch.pixels, generator)

    def posterior(self, x: X, labels: Labels = None) -> tuple[Z, Z]:
        """Mean and log-variance of q(z given x)."""
        centred = (x - self.info.mean) / max(self.info.std, 0.05)
        mean, logvar = self.encoder(centred, labels).float().chunk(2, -1)
        return mean, logvar.clamp(-12, 8)  # exp stays finite; trained models are far within

    def parameters_of(self, z: Z, labels: Labels = None) -> Float[Tensor, "b o h w"]:
        """The parameters of p(x given z)."""
        p = self.decoder(z, labels).float()
        # a gaussian's decoder begins at the mean image's grey, not at black
        return p + self.info.mean if isinstance(self.likelihood, Gaussian) else p

    def elbo(self, x: X, labels: Labels, generator: torch.Generator | None = None) -> Elbo:
        """Distortion and rate of each image with one reparameterised sample z (eq. 10)."""
        mean, logvar = self.posterior(x, labels)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        z = mean + (0.5 * logvar).exp() * noise
        distortion = -self.likelihood.log_prob(self.parameters_of(z, labels), x)
        return Elbo(distortion, self.prior.kl(mean, logvar, z))

    def loss(self, batch: Batch, progress: float = 1.0) -> Loss:
        """-ELBO with the KL weighted by beta: summed over dimensions, averaged over the batch.

        With `iw_samples` above 1 the bound is the importance-weighted one, from
        `iw_from` of the budget on.
        """
        x, labels = self.observe(batch), self._hidden_some(batch.labels)
        samples = self.config.iw_samples
        if samples > 1 and progress >= self.config.iw_from:
            return self._importance_weighted_loss(x, labels, samples, self._beta(progress))
        distortion, rate = self.elbo(x, labels)
        total = distortion.mean() + self._beta(progress) * self._free(rate)
        return Loss(total, self._parts(distortion.mean(), rate.sum(1).mean()))

    def _importance_weighted_loss(self, x: X, labels: Labels, samples: int, beta: float) -> Loss:
        noise = torch.randn(len(x), samples, self.latent_dim, device=x.device)
        log_p_x, log_p_z, log_q = self._log_terms(x, labels, noise)
        weights = log_p_x + beta * (log_p_z - log_q)
        bound = (weights.logsumexp(1) - math.log(samples)).mean()
        parts = self._parts(-log_p_x.mean(), (log_q - log_p_z).mean())
        return Loss(-bound, {**parts, f"iw_{samples}": bound.detach()})

    def _parts(self, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
        parts = {"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}
        if self.eight_bit:
            parts["bits_per_dim"] = (reconstruction + kl) / (self.info.dims * math.log(2))
        return {name: part.detach() for name, part in parts.items()}

    def _beta(self, progress: float) -> float:
        rising = self.training and progress < self.config.kl_warmup
        return self.config.beta * (progress / self.config.kl_warmup if rising else 1.0)

    def _free(self, rate: Float[Tensor, "batch latent"]) -> Float[Tensor, ""]:
        """KL that counts: a latent's mean over the batch, less than free_bits being free."""
        if self.config.free_bits == 0:
            return rate.sum(1).mean()
        return rate.mean(0).clamp(min=self.config.free_bits).sum()

    def _hidden_some(self, labels: Labels) -> Labels:
        """Labels with a share of them hidden while training (-1)."""
        if self.config.condition == "none" or labels is None:
            return None
        if not self.training:
            return labels
        hidden = torch.rand(labels.shape, device=labels.device) < self.config.label_dropout
        return labels.masked_fill(hidden, -1)

    def log_weights(
        self, x: X, labels: Labels, samples: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch samples"]:
        """log p(x, z) - log q(z given x) at samples of q: their log-mean-exp estimates log p(x).

        (Burda 2015, eq. 8.) The slow, obvious way: every sample through the whole decoder.
        """
        noise = torch.randn(
            (len(x), samples, self.latent_dim), generator=generator, device=x.device
        )
        return self._log_weights(x, labels, noise)

    def _log_weights(
        self, x: X, labels: Labels, noise: Float[Tensor, "batch samples latent"]
    ) -> Float[Tensor, "batch samples"]:
        log_p_x, log_p_z, log_q = self._log_terms(x, labels, noise)
        return log_p_x + log_p_z - log_q

    def _log_terms(
        self, x: X, labels: Labels, noise: Float[Tensor, "batch samples latent"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x given z), log p(z), log q(z given x), each `[batch, samples]`."""
        mean, logvar = self.posterior(x, labels)
        z = (mean[:, None] + (0.5 * logvar[:, None]).exp() * noise).flatten(0, 1)
        repeated = None if labels is None else labels.repeat_interleave(noise.shape[1])
        p = self.parameters_of(z, repeated).unflatten(0, noise.shape[:2])
        log_q = (log_normal(noise) - 0.5 * logvar[:, None]).sum(-1)
        log_p_z = self.prior.log_prob(z).unflatten(0, noise.shape[:2])
        return self.likelihood.log_prob(p, x[:, None]), log_p_z, log_q

    def importance_log_likelihood(
        self, x: X, labels: Labels, samples: int, generator: torch.Generator | None = None
    ) -> ImportanceEstimate | None:
        """The estimate from `log_weights`, several times faster; None where that cannot be."""
        return importance_log_likelihood(self, x, labels, samples, generator)

    # -- abilities ----------------------------------------------------------------------------

    @torch.inference_mode()
    def sample(
        self,
        n: int,
        params: GenerationParams | None = None,
        *,
        label: str | None = None,
        **options: Any,
    ) -> Images:
        """`n` new images: the mean of p(x given z), z from the prior.

        Image i is a function of (seed, start + i) alone. `temperature` scales the noise that z
        is made from: 0 is one image, below 1 plainer ones. Raises UsageError for a bad number
        or a label that the images had not.
        """
        if n < 1:
            raise UsageError(f"the number of images must be at least 1, not {n}.")
        chosen = resolve_params(params, options, SEEDED)
        labels = self._asked_for(label, n)
        assert chosen.temperature is not None, "resolved"
        noise = per_image_normal(n, (self.latent_dim,), chosen.seed, chosen.start)
        noise = chosen.temperature * noise
        return self._paint(self.prior.transform, noise, labels)

    def _asked_for(self, label: str | None, n: int) -> np.ndarray | None:
        return None if label is None else np.full(n, class_of(self.config, self.info, label))

    @torch.inference_mode()
    def encode(self, images: Images) -> Posterior:
        """Mean and standard deviation of q(z given x), `[n, latent]`; no chance in it."""
        mean, std = map_in_fixed_batches(self._encode, *self._rows(images))
        return Posterior(mean.cpu().numpy(), std.cpu().numpy())

    def _encode(self, pixels: Tensor, labels: Labels) -> tuple[Z, Z]:
        x = self._still(pixels.to(self.device))
        mean, logvar = self.posterior(x, None if labels is None else labels.to(self.device))
        return mean, (0.5 * logvar).exp()

    def _still(self, pixels: Tensor) -> X:
        """The images without the chance of `observe`: what is expected of it."""
        if isinstance(self.likelihood, Bernoulli) and self.likelihood.dynamic:
            return to_float(pixels)
        if isinstance(self.likelihood, Gaussian):
            return (pixels.permute(0, 3, 1, 2) + 0.5) / 256
        return self.likelihood.observe(pixels)

    @torch.inference_mode()
    def decode(self, z: np.ndarray, labels: np.ndarray | None = None) -> Images:
        """Latents `[n, latent]` to images: the mean of p(x given z)."""
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise UsageError(f"latents are [n, {self.latent_dim}], not {list(z.shape)}.")
        return self._paint(lambda rows: rows, torch.from_numpy(z), labels)

    def _paint(self, to_z: Any, noise: Tensor, labels: np.ndarray | None) -> Images:
        def paint(rows: Tensor, labels: Labels) -> Tensor:
            p = self.parameters_of(to_z(rows.to(self.device)), labels)
            return to_uint8(self.likelihood.mean(p)).cpu()

        given = None if labels is None else torch.as_tensor(labels, device=self.device)
        return Images(map_in_fixed_batches(paint, noise, given)[0].numpy())

    @torch.inference_mode()
    def from_noise(self, noise: np.ndarray) -> np.ndarray:
        """Standard normal noise `[n, latent]` to latents of the prior, as `sample` makes them."""
        rows = torch.from_numpy(np.asarray(noise, np.float32)).to(self.device)
        return self.prior.transform(rows).cpu().numpy()

    def reconstruct(self, images: Images) -> Images:
        """Each image through the mean of its latent and back."""
        labels = images.labels if self.config.condition == "label" else None
        return self.decode(self.encode(images).mean, labels)

    def embed(self, images: Images) -> np.ndarray:
        """The mean of q(z given x), `[n, latent]`."""
        return self.encode(images).mean

    @torch.inference_mode()
    def score(self, images: Images, *, samples: int = 1, seed: int = 0) -> np.ndarray:
        """Lower bound of log p(x) in nats, `[n]`: the ELBO for one sample, IW-`samples` above.

        Each image has a generator of its own, so a score does not depend on the neighbours.
        """
        pixels, labels = self._rows(images)
        generator = torch.Generator(self.device)

        def observed(i: int) -> Tensor:
            generator.manual_seed(mix_seed(seed, i))
            return self.observe(Batch(pixels[i : i + 1].to(self.device)), generator)

        x = torch.cat([observed(i) for i in range(len(pixels))])
        noise = per_image_normal(len(x), (samples, self.latent_dim), seed + 1).to(self.device)

        def weigh(x: Tensor, labels: Labels, noise: Tensor) -> Tensor:
            weights = self._log_weights(x, labels, noise).double()
            return weights.logsumexp(1) - math.log(samples)

        at_once = max(1, CHUNK // samples)
        return map_in_fixed_batches(weigh, x, labels, noise, size=at_once)[0].cpu().numpy()

    def _rows(self, images: Images) -> tuple[Tensor, Labels]:
        """Pixels and, for a model that sees them, labels."""
        pixels = pixels_for(self.info, images)
        if self.config.condition == "none" or images.labels is None:
            return pixels, None
        return pixels, torch.from_numpy(images.labels)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
