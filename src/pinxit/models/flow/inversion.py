"""From images back to their noise, and the likelihood that this gives them."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.flow.integrate import integrate, step_times
from pinxit.models.flow.likelihood import log_likelihood_bound
from pinxit.models.flow.model import DRAW_BATCH, Flow
from pinxit.models.flow.network import Condition
from pinxit.models.generation import GenerationParams
from pinxit.models.inputs import check_images
from pinxit.models.latent_codecs import Latents, PixelCodec, Pixels
from pinxit.nn.batching import map_in_fixed_batches
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import mix_seed, per_image_normal

NUM_INVERSION_STEPS = 50  # from image to noise and back


class InvertibleFlow(Flow):
    """A flow whose equation is also solved backwards."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Channels, rows and columns of the noise that an image is generated from."""
        return self.codec.shape

    @torch.inference_mode()
    def invert(self, images: Images) -> Float32[np.ndarray, "n channel row column"]:
        """Return the noise from which each image is generated: the equation solved backwards.

        Raises UsageError for images of another shape.
        """
        latents = self.mean_latents(check_images(self.info, images))
        times = step_times(NUM_INVERSION_STEPS).flip(0)

        def invert(data: Latents) -> Latents:
            field = self.field(self.conditions.of_nothing(len(data), self.network))
            *_, state = integrate(field, data.to(self.device), times)
            return state.x.cpu()

        return map_in_fixed_batches(invert, latents, batch_size=DRAW_BATCH)[0].numpy()

    @torch.inference_mode()
    def from_noise(self, noise: np.ndarray) -> Images:
        """Return the images of noise, in as many steps as `invert` takes.

        Raises UsageError for an array of another shape than `[n, *noise_shape]`.
        """
        if noise.shape[1:] != self.noise_shape:
            sizes = ", ".join(map(str, self.noise_shape))
            raise UsageError(f"noise must be [n, {sizes}], not {list(noise.shape)}.")
        rows = torch.from_numpy(np.asarray(noise, np.float32))
        params = GenerationParams(steps=NUM_INVERSION_STEPS)
        *_, last = self._generate(rows, self._condition_of_nothing, params, progress=False)
        return last

    @property
    def eight_bit(self) -> bool:
        """Whether the likelihood is over 8-bit values."""
        return True if isinstance(self.codec, PixelCodec) else self.codec.vae.eight_bit

    @property
    def likelihood_description(self) -> str:
        """What the likelihood is of."""
        if isinstance(self.codec, PixelCodec):
            return "density of the flow; pixels with uniform noise of their width added"
        return f"prior by the density of the flow; {self.codec.vae.likelihood_description}"

    likelihood_is_exact = False
    max_scored_images = 50  # by default: an image takes 50 evaluations with their gradients

    @torch.no_grad()
    def score(
        self, images: Images, *, samples: int = 1, seed: int = 0
    ) -> Float32[np.ndarray, " n"]:
        """Return a lower bound of log p(x) of each image in nats, see `likelihood`.

        Above 1 sample it is the importance-weighted bound. Without a caption; with labels of a
        model that is conditioned on them; with clusters log p(c) + log p(x | c) for the image's own
        cluster, which the sum over all clusters exceeds. Unbiased in its random numbers, but for
        the steps of the solver. Raises UsageError for images of another shape.
        """
        pixels = check_images(self.info, images)
        labels, log_p_cluster = self._labels_of_score(images, pixels)
        observed = image_seeds(images, seed, Draw.OBSERVATION)
        drawn = image_seeds(images, seed, Draw.ELBO)
        parts = []
        for start in range(0, len(images), DRAW_BATCH):
            rows = slice(start, start + DRAW_BATCH)
            chosen = None if labels is None else labels[rows].to(self.device)
            n = len(pixels[rows])
            field = self.field(self._condition_of_score(chosen, n))
            bounds = []
            for k in range(samples):
                own = [mix_seed(s, k) if k else s for s in drawn[rows]]
                noise = per_image_normal(n, self.noise_shape, own).to(self.device)
                signs = per_image_normal(n, self.noise_shape, [mix_seed(s, -1) for s in own])
                bound = log_likelihood_bound(
                    self.codec,
                    field,
                    pixels[rows].to(self.device),
                    noise,
                    signs.sign().to(self.device),
                    observed[rows],
                )
                bounds.append(bound.double().cpu())
            parts.append(torch.stack(bounds).logsumexp(0) - math.log(samples))
        return (torch.cat(parts) + log_p_cluster).float().numpy()

    def _labels_of_score(self, images: Images, pixels: Pixels) -> tuple[Tensor | None, Tensor]:
        """Return labels or clusters of images, if they are conditions, and clusters' log p."""
        if self.clusters is not None:
            found = self.clusters(self.mean_latents(pixels).to(self.device)).cpu()
            examples = torch.tensor(self.conditions.examples.record)
            counts = torch.bincount(examples, minlength=len(self.clusters.centroids))
            return found, (counts[found] / len(examples)).log()
        has_labels = self.label_conditional and images.labels is not None
        return (torch.from_numpy(images.labels) if has_labels else None), torch.zeros(())

    def _condition_of_score(self, labels: Tensor | None, n: int) -> Condition:
        if self.config.condition == "text":
            return self.conditions.of_nothing(n, self.network)
        return self.conditions.of_labels(labels, n)
