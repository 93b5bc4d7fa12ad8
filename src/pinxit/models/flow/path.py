"""The path from noise to data, and what a network learns on it (flow matching, Lipman 2022).

    x_t = (1 - t) e + t z,   e ~ N(0, I),  z a latent of an image,  t from 0 (noise) to 1 (data)

On the way to z the velocity is dx_t/dt = z - e. A network that sees x_t and t only learns its mean
over all pairs (e, z) that pass there; following that mean field carries N(0, I) to the data (their
theorem 1; straight paths as in Liu 2022, rectified flow).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.nn.batch_share import batch_rand, batch_randperm, whole_size

Prediction = Literal["velocity", "data"]
X = Float[Tensor, "batch *shape"]
Times = Float[Tensor, " batch"]
Field = Callable[[X, Times], X]  # velocity at x_t and t

MIN_NOISE = 0.05  # of 1 - t, where a predicted data point is turned into a velocity (Li & He 2025)


def sample_times(n: int, device: torch.device, mean: float = 0.0, std: float = 1.0) -> Times:
    """Sample times from a logit-normal distribution (Esser 2024, sec. 3.1), spread over the batch.

    The n normal quantiles are stratified: fewer batches see mostly noise or mostly data.
    """
    strata = (batch_randperm(n, device) + batch_rand(n, device=device)) / whole_size(n)
    return torch.sigmoid(mean + std * torch.special.ndtri(strata.clamp(1e-6, 1 - 1e-6)))


def expand_times(t: Times, x: X) -> Tensor:
    """Return the times with as many dimensions as x."""
    return t.view(-1, *(1 for _ in x.shape[1:]))


def interpolate(noise: X, data: X, t: Times) -> X:
    """x_t = (1 - t) noise + t data."""
    t = expand_times(t, data)
    return (1 - t) * noise + t * data


def to_velocity(output: X, x_t: X, t: Times, prediction: Prediction) -> X:
    """Return the velocity that a network's output means: it predicts z - e, or z itself.

    With z predicted the velocity is (z - x_t) / (1 - t); near t = 1 the division is bounded.
    """
    if prediction == "velocity":
        return output
    return (output - x_t) / (1 - expand_times(t, x_t)).clamp(min=MIN_NOISE)


def to_data(velocity: X, x_t: X, t: Times) -> X:
    """Return the data point that a velocity points to: x_t + (1 - t) v, the denoised estimate."""
    return x_t + (1 - expand_times(t, x_t)) * velocity
