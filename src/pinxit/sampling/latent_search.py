"""Search for the latent of an image by gradient descent, as an alternative to an encoder.

    z* = argmin_z ||decoder(z) - x||^2

The search needs the decoder alone. It finds a point, for one image at a time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from pinxit.data.images import Images
from pinxit.models.likelihood_protocols import HasMeanImage
from pinxit.models.protocols import CanEncode, Model
from pinxit.nn.pixels import to_float
from pinxit.sampling.inputs import labels_for

BETA1, BETA2 = 0.9, 0.999
LEARNING_RATE = 0.1  # of Adam; z ~ N(0, 1) has values of about 1


@dataclass(frozen=True)
class LatentSearch:
    """Gradient descent on z from several starts; row t holds the state after t steps."""

    z: Float32[np.ndarray, "steps_1 starts latent"]
    errors: Float64[np.ndarray, "steps_1 starts"]  # ||decoder(z) - x||, pixels from 0 to 1
    seconds: float  # of all steps and starts together

    @property
    def num_steps(self) -> int:
        return len(self.errors) - 1

    def steps_to(self, error: float) -> int | None:
        """Return the first step at which the first start has at most this error, if there is."""
        reached = np.flatnonzero(self.errors[:, 0] <= error)
        return int(reached[0]) if len(reached) else None


def search_latents(
    model: HasMeanImage,
    image: Images,
    starts: Float32[np.ndarray, "starts latent"],
    num_steps: int,
) -> LatentSearch:
    """Minimize ||decoder(z) - x||^2 over z for one image, from each start, by Adam.

    The starts do not influence one another: the gradient of one does not depend on the others.
    """
    assert isinstance(model, Model)
    assert len(image) == 1, "one image"
    x = to_float(torch.from_numpy(image.pixels)).to(model.device)
    labels = labels_for(model, image)
    batch = (
        None if labels is None else torch.from_numpy(labels).to(model.device).repeat(len(starts))
    )
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.tensor(starts, device=model.device, requires_grad=True)
        adam = _Adam(z)
        path, errors = [], []
        begin = time.perf_counter()
        for step in range(num_steps + 1):
            squared = (model.mean_image(z, batch) - x).square().flatten(1).sum(1)
            path.append(z.detach().cpu().numpy().copy())
            errors.append(squared.detach().sqrt().cpu().numpy())
            if step < num_steps:
                adam.step(*torch.autograd.grad(squared.sum(), z))
        seconds = time.perf_counter() - begin
    return LatentSearch(np.stack(path), np.stack(errors).astype(np.float64), seconds)


class _Adam:
    """Adam (Kingma & Ba 2014, algorithm 1) of one tensor.

    The first optimizer of torch that a process builds imports its compiler, which takes a second.
    """

    def __init__(self, x: Tensor) -> None:
        self.x, self.t = x, 0
        self.m, self.v = torch.zeros_like(x), torch.zeros_like(x)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        self.t += 1
        self.m.lerp_(gradient, 1 - BETA1)
        self.v.lerp_(gradient.square(), 1 - BETA2)
        m, v = self.m / (1 - BETA1**self.t), self.v / (1 - BETA2**self.t)
        self.x -= LEARNING_RATE * m / (v.sqrt() + 1e-8)


@dataclass(frozen=True)
class EncoderAnswer:
    """What the encoder gives for an image, in one pass."""

    z: Float32[np.ndarray, " latent"]  # the mean of q(z|x)
    std: Float32[np.ndarray, " latent"]
    error: float  # ||decoder(z) - x||, pixels from 0 to 1
    seconds: float


def encode_image(model: CanEncode, image: Images) -> EncoderAnswer:
    """Encode one image, and decode the mean of its posterior."""
    assert isinstance(model, HasMeanImage)
    begin = time.perf_counter()
    posterior = model.encode(image).flatten()
    seconds = time.perf_counter() - begin
    error = float(search_latents(model, image, posterior.mean, 0).errors[0, 0])
    return EncoderAnswer(posterior.mean[0], posterior.std[0], error, seconds)
