"""What is known of an image before it is generated: nothing, a part of it, or a first version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pinxit.errors import UsageError
from pinxit.models.flow.integrate import Solver, State, integrate, step_times, take_step
from pinxit.models.flow.path import Field, X, interpolate
from pinxit.models.flow.shortcut import DEFAULT_STEPS
from pinxit.models.generation import GenerationParams
from pinxit.models.latent_codecs import Pixels
from pinxit.nn.batch_share import batch_randint, row_numbers
from pinxit.nn.masking import Masking, inverse_order, mask_order

NUM_STEPS = 20

Rows = Int64[Tensor, " rows"]
Latents = Float[Tensor, "batch channel row column"]
IsKnown = Bool[Tensor, "batch one row column"]
Visible = Float[Tensor, "batch channel_and_1 row column"]


@dataclass(frozen=True)
class Task:
    """Latents that are known, and how much of them."""

    known: Latents | None = None
    is_known: IsKnown | None = None  # None: all of `known` is a start
    strength: float = 1.0  # how far towards noise a first version is taken back

    def take(self, rows: Rows, device: torch.device) -> Task:
        """Return the task of these rows."""
        known = None if self.known is None else self.known[rows.to(self.known.device)].to(device)
        mask = None if self.is_known is None else self.is_known[rows].to(device)
        return Task(known, mask, self.strength)

    @property
    def visible(self) -> Visible | None:
        """The latents that are known, as the network sees them; None of a whole image."""
        if self.known is None or self.is_known is None:
            return None
        return join_visible(self.known, self.is_known)

    def check_solver(self, params: GenerationParams) -> None:
        """Raise UsageError for a solver that begins with noise, if this begins with an image."""
        is_edit = self.known is not None and self.is_known is None
        if is_edit and params.solver == "shortcut":
            raise UsageError("an edit by strength needs the solver heun or euler.")

    def solve(self, field: Field, noise: Latents, params: GenerationParams) -> Iterator[Latents]:
        """Yield the denoised estimate after each step, and last the latents of the image."""
        solver = params.solver or "heun"
        default = DEFAULT_STEPS if solver == "shortcut" else NUM_STEPS
        times = step_times(params.steps or default)
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


def join_visible(latents: Latents, is_known: IsKnown) -> Visible:
    """Return the latents that are known, 0 elsewhere, and where they are known."""
    return torch.cat([latents * is_known, is_known.to(latents)], 1)


def sample_visible(n: int, grid: tuple[int, int], device: torch.device) -> IsKnown:
    """Sample the positions of images that are known: any number of them.

    For every second image they are anywhere, for the others outside rectangles.
    """
    rows, columns = grid
    kinds: tuple[Masking, ...] = ("random", "block")
    orders = [mask_order(kind, n, rows, columns, device) for kind in kinds]
    is_block = (row_numbers(n, device) % 2 == 1)[:, None]
    rank = inverse_order(torch.where(is_block, orders[1], orders[0]))
    num_known = batch_randint(1, rows * columns, n, 1, device=device)
    return (rank < num_known).view(n, 1, rows, columns)


def fill_masked(pixels: Pixels, mask: Bool[Tensor, "n height width"]) -> Pixels:
    """Replace masked pixels by the mean of the others: they hardly disturb their neighbours."""
    kept = ~mask[..., None]
    mean = (pixels * kept).sum((1, 2), keepdim=True) / kept.sum((1, 2), keepdim=True).clamp(min=1)
    return torch.where(kept, pixels, mean.round().to(torch.uint8))


def _estimates(states: Iterator[State]) -> Iterator[X]:
    for state in states:
        yield state.data if state.t < 1 else state.x
