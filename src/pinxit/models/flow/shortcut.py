"""Shortcuts: large steps that are learned (Frans 2024, "One step diffusion via shortcut models").

A network that also sees how many steps it has predicts where a step of that length ends, not where
the path points to at its start. Its target is two of its own steps of half the length; the
shortest ones are those of the flow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pinxit.errors import UsageError
from pinxit.models.flow.network import Condition, KeysAndValues
from pinxit.models.flow.path import Field, Times, X
from pinxit.nn.batch_share import batch_rand, batch_randint

MAX_LEVEL = 5  # of 2^level steps; with twice as many the flow itself is followed
DEFAULT_STEPS = 4

FieldOf = Callable[[Condition], Field]


class StepCounts(nn.Module):
    """An embedding of the number of steps, a power of two, added to that of the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.levels = nn.Embedding(MAX_LEVEL + 1, width)
        nn.init.zeros_(self.levels.weight)

    def add_to(self, condition: Condition, level: Tensor) -> Condition:
        """Return the condition of a step with this log2 of the number of steps; -1: the flow."""
        embedded = self.levels(level.clamp(min=0)) * (level >= 0)[..., None]
        return condition._replace(vector=condition.vector + embedded)


def level_of(num_steps: int) -> int:
    """Return log2 of the number of steps. Raises UsageError unless it is a power of two."""
    if num_steps.bit_count() != 1 or num_steps > 2**MAX_LEVEL:
        raise UsageError(
            f"the solver shortcut takes 1, 2, 4, ... or {2**MAX_LEVEL} steps, not {num_steps}."
        )
    return num_steps.bit_length() - 1


def check_shortcut(counts: StepCounts | None, num_steps: int | None) -> None:
    """Raise UsageError if a model has learned no shortcuts, or none of this many steps."""
    if counts is None:
        raise UsageError(
            "this run was trained without shortcuts: train with --shortcut-share 0.25, or use "
            "the solver heun or euler."
        )
    level_of(num_steps or DEFAULT_STEPS)


def sample_steps(n: int, device: torch.device) -> tuple[Tensor, Times]:
    """Sample levels [n] and times at which a step of that many begins."""
    level = batch_randint(0, MAX_LEVEL + 1, n, device=device)
    count = 2.0**level
    return level, (batch_rand(n, device=device) * count).floor() / count


@torch.no_grad()
def two_half_steps(
    field_of: FieldOf, counts: StepCounts, condition: Condition, x: X, t: Times, level: Tensor
) -> X:
    """Return the mean velocity of two steps of half the length: the target of a whole one."""
    finer = torch.where(level < MAX_LEVEL, level + 1, -1)
    field = field_of(counts.add_to(condition, finer))
    half = 0.5 ** (level + 1)
    first = field(x, t)
    middle = x + half.view(-1, *(1 for _ in x.shape[1:])) * first
    return 0.5 * (first + field(middle, t + half))


def take_rows(condition: Condition, rows: slice) -> Condition:
    """Return the condition of some rows of a batch."""
    return Condition(
        condition.vector[rows],
        tuple(KeysAndValues(kv.keys[rows], kv.values[rows]) for kv in condition.words),
        *(None if part is None else part[rows] for part in condition[2:]),
    )
