"""Solvers of the ordinary differential equation dx/dt = v(x, t), from noise to data and back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.models.flow.path import Field, X, to_data
from pinxit.nn.interruption import check_interrupted

Solver = Literal["euler", "heun", "shortcut"]


class State(NamedTuple):
    """Where a solution stands after a step."""

    x: Tensor  # x_t
    data: Tensor  # the denoised estimate: where the velocity points to
    t: float


def step_times(num_steps: int, shift: float = 1.0) -> Float[Tensor, " steps"]:
    """Return num_steps + 1 times from 0 to 1; a shift above 1 takes smaller steps near noise.

    t' = t / (s - (s - 1) t), equal steps for s = 1 (Esser 2024, eq. 23, for 1 - t).
    """
    t = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    return t / (shift - (shift - 1) * t)


def integrate(
    field: Field, x: X, times: Float[Tensor, " steps"], solver: Solver = "heun"
) -> Iterator[State]:
    """Follow the field through the times, and yield every step; times may fall: to noise."""
    for t, following in pairwise(times.tolist()):
        state = take_step(field, x, t, following, solver)
        x = state.x
        yield state


def take_step(field: Field, x: X, t: float, following: float, solver: Solver = "heun") -> State:
    """Follow the field from t to the following time.

    Heun's method takes a second slope at the end of a step (Karras 2022, algorithm 1), but not at
    the data's end: there the path is straight.
    """
    check_interrupted()
    h = following - t
    velocity = field(x, _batch_of(t, x))
    estimate = to_data(velocity, x, _batch_of(t, x))
    ahead = x + h * velocity
    if solver == "heun" and following < 1:
        ahead = x + 0.5 * h * (velocity + field(ahead, _batch_of(following, x)))
    return State(ahead, estimate, following)


def _batch_of(t: float, x: X) -> Float[Tensor, " batch"]:
    return torch.full((len(x),), t, device=x.device)
