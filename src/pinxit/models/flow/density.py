"""The density of a flow: the continuous change of variables (Chen 2018; Grathwohl 2018, FFJORD).

Along dx/dt = v(x, t) the log-density changes by -div v, so with x_0 ~ N(0, I) at the start

    log p(x_1) = log N(x_0; 0, I) - integral over t from 0 to 1 of div v(x_t, t).

The divergence is estimated by Hutchinson's e^T (dv/dx) e, e of random signs: unbiased, and its
error averages out over images.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.models.flow.integrate import step_times
from pinxit.models.flow.path import Field, X


def log_density(
    field: Field, data: X, signs: X, num_steps: int = 50
) -> tuple[Float[Tensor, " batch"], X]:
    """Return log p(data) in nats, and the noise that the flow maps to the data.

    `signs` are -1 or 1, of the data's shape. Solved by Heun's method from data to noise.
    """
    x, integral = data, torch.zeros(len(data), device=data.device)
    times = step_times(num_steps).flip(0).tolist()
    for t, following in pairwise(times):
        h = following - t
        velocity, divergence = _velocity_and_divergence(field, x, t, signs)
        ahead = x + h * velocity
        slope, ahead_divergence = _velocity_and_divergence(field, ahead, following, signs)
        x = x + 0.5 * h * (velocity + slope)
        integral = integral - 0.5 * h * (divergence + ahead_divergence)
    noise = x
    log_normal = -0.5 * (noise.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return log_normal - integral, noise


def _velocity_and_divergence(
    field: Field, x: X, t: float, signs: X
) -> tuple[X, Float[Tensor, " batch"]]:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        velocity = field(x, torch.full((len(x),), t, device=x.device))
        (product,) = torch.autograd.grad(velocity, x, signs)
    return velocity.detach(), (product * signs).flatten(1).sum(1)
