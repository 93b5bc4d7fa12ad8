"""What is known of an image before it is generated: nothing, a part of it, or a first version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pinxit.models.flow.integrate import Solver, State, integrate, step_times, take_step
from pinxit.models.flow.path import Field, X, interpolate
from pinxit.models.generation import GenerationParams

NUM_STEPS = 20

Rows = Int64[Tensor, " rows"]
Latents = Float[Tensor, "batch channel row column"]


@dataclass(frozen=True)
class Task:
    """Latents that are known, and how much of them."""

    known: Latents | None = None
    is_known: Bool[Tensor, "batch one row column"] | None = None  # None: all of `known` is a start
    strength: float = 1.0  # how far towards noise a first version is taken back

    def take(self, rows: Rows, device: torch.device) -> Task:
        """Return the task of these rows."""
        known = None if self.known is None else self.known[rows.to(self.known.device)].to(device)
        mask = None if self.is_known is None else self.is_known[rows].to(device)
        return Task(known, mask, self.strength)

    def solve(self, field: Field, noise: Latents, params: GenerationParams) -> Iterator[Latents]:
        """Yield the denoised estimate after each step, and last the latents of the image."""
        num_steps = params.steps or NUM_STEPS
        times, solver = step_times(num_steps), params.solver or "heun"
        if self.known is None:
            yield from _estimates(integrate(field, noise, times, solver))
        elif self.is_known is None:
            # SDEdit (Meng 2021): from a noisy version of the image on
            start = 1 - self.strength
            times = start + (1 - start) * times
            x = interpolate(noise, self.known, torch.full((len(noise),), start).to(noise))
            yield from _estimates(integrate(field, x, times, solver))
        else:
            yield from self._fill_in(field, noise, times, solver)

    def _fill_in(
        self, field: Field, noise: Latents, times: Float[Tensor, " steps"], solver: Solver
    ) -> Iterator[Latents]:
        """Replace known latents after each step by those of the path from the noise to them.

        (Song 2021, "Score-based generative modeling through stochastic differential equations",
        app. I.2.) The rest is generated so that it fits.
        """
        assert self.known is not None and self.is_known is not None, "a task with a mask"
        x = noise
        for t, following in pairwise(times.tolist()):
            state = take_step(field, x, t, following, solver)
            t_batch = torch.full((len(x),), following).to(x)
            x = torch.where(self.is_known, interpolate(noise, self.known, t_batch), state.x)
            estimate = state.data if following < 1 else x
            yield torch.where(self.is_known, self.known, estimate)


def _estimates(states: Iterator[State]) -> Iterator[X]:
    for state in states:
        yield state.data if state.t < 1 else state.x
