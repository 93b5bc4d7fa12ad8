"""Parts of a VAE for other programs: decoder, encoder, and the map from noise to latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pinxit.data.batch import Batch
from pinxit.models.export_parts import (
    AnyPart,
    Example,
    ExportPart,
    RefusedPart,
    Value,
    image_value,
    label_value,
    labels_or_none,
    to_image,
    to_pixels,
)
from pinxit.models.vae.model import VAE
from pinxit.models.vae.posteriors import GaussianFamily, GaussianPosterior
from pinxit.models.vae.vamp_prior import VampPrior
from pinxit.nn.rng import per_image_normal


class Decoder(nn.Module):
    """z to the mean of p(x|z), cut off at black and white."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.model.mean_image(z.flatten(1), label).clamp(0, 1)


class Encoder(nn.Module):
    """An image to the mean and standard deviation of q(z|x); without the latter of no Gaussian."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        q = self.model.q(self.model._mean_observation(to_pixels(image)), label)
        outputs = (q.mean,)
        if isinstance(q, GaussianPosterior):
            outputs = (q.mean, (0.5 * q.logvar).exp())
        return tuple(part.unflatten(1, self.model.latent_shape) for part in outputs)


class Prior(nn.Module):
    """Standard normal noise to latents of a learned prior."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, noise: Tensor) -> Tensor:
        return self.model.prior.transform(noise.flatten(1)).unflatten(1, self.model.latent_shape)


def export_parts(model: VAE) -> tuple[AnyPart, ...]:
    """Return decoder and encoder; the prior too, if it is learned."""
    axes = "batch channel row column" if len(model.latent_shape) == 3 else "batch latent"
    labels = (label_value(),) if model.label_conditional else ()
    drawn = "z = prior(noise)" if model.prior_is_learned else "N(0, I)"
    z = Value("z", axes, f"latents; those of new images are of the prior: {drawn}")

    def with_labels(first: Tensor, batch: Batch) -> Example:
        return Example((first, labels_or_none(batch)) if labels else (first,))

    def encoder_examples(batch: Batch) -> list[Example]:
        return [with_labels(to_image(batch.pixels), batch)]

    def decoder_examples(batch: Batch) -> list[Example]:
        """Latents of images, and of the prior."""
        posterior, *_ = encoder.module(*encoder_examples(batch)[0].inputs)
        noise = per_image_normal(len(batch), (model.latent_dim,), 0)
        prior = model.prior.transform(noise).view_as(posterior)
        return [with_labels(latents, batch) for latents in (posterior, prior)]

    has_std = isinstance(model.posteriors, GaussianFamily)
    mean = Value("mean", axes, "mean of q(z|x)", "mean")
    std = Value("std", axes, "standard deviation of q(z|x), above 0", "std")
    decoder: AnyPart = ExportPart(
        "decoder",
        "latents to an image: the mean of p(x|z)",
        Decoder(model),
        (z, *labels),
        (image_value(),),
        decoder_examples,
    )
    if not model.mean_is_differentiable:
        reason = "an autoregressive head decodes one pixel after another; sample in pinxit"
        decoder = RefusedPart("decoder", reason)
    encoder = ExportPart(
        "encoder",
        f"an image to the {'mean and standard deviation' if has_std else 'centre'} of q(z|x)",
        Encoder(model),
        (image_value(), *labels),
        (mean, std) if has_std else (mean,),
        encoder_examples,
    )
    if not model.prior_is_learned:
        return decoder, encoder
    if isinstance(model.prior, VampPrior):
        reason = "a VampPrior finds each latent by bisection, in double precision; sample in pinxit"
        return decoder, encoder, RefusedPart("prior", reason)
    noise = Value("noise", axes, "standard normal noise")
    prior = ExportPart(
        "prior",
        "standard normal noise to latents of the learned prior",
        Prior(model),
        (noise,),
        (z,),
        lambda batch: [Example((torch.randn(len(batch), *model.latent_shape),))],
    )
    return decoder, encoder, prior
