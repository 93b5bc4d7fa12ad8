"""Velocity fields for generation: guided, and evaluated for a few images at a time.

On a CPU a network evaluates few images at a time, a large one a single image: one that is drawn
alone does not pay for others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.models.flow.config import Config
from pinxit.models.flow.network import Condition, FlowTransformer, KeysAndValues
from pinxit.models.flow.path import Field, Times, X
from pinxit.models.flow.tasks import Rows
from pinxit.nn.batching import pad_rows

Velocity = Callable[[X, Times, Condition], X]

GUIDANCE = 2.0  # of images with a condition, by default: cleaner than 1 (docs/log.md)
MAX_BATCH_SIZE = 16
# positions x width^2 x layers of a network that evaluates single images on a CPU; one of half the
# cost evaluates two, so that small matrices do not take as long as their Python
SINGLE_IMAGE_COST = 64 * 128**2 * 6


def evaluation_batch_size(network: FlowTransformer) -> int:
    """Return how many images a network evaluates together: a power of two, up to 16."""
    if network.pos_embed.device.type != "cpu":
        return MAX_BATCH_SIZE
    positions, width = network.pos_embed.shape
    ratio = SINGLE_IMAGE_COST / (positions * width**2 * len(network.blocks))
    return min(MAX_BATCH_SIZE, 2 ** int(math.log2(max(1.0, ratio))))


def split_rows(rows: Rows, size: int) -> list[Rows]:
    """Split consecutive rows into parts of exactly `size`; the last one repeats its last row."""
    last = int(rows[-1])
    starts = range(int(rows[0]), last + 1, size)
    return [(torch.arange(size) + start).clamp(max=last) for start in starts]


def default_guidance(config: Config) -> float:
    """Return the guidance if none is given: 1 of a model that has nothing to guide away from."""
    is_guided = config.condition != "none" and config.caption_dropout > 0
    return GUIDANCE if is_guided else 1.0


def field_with_guidance(
    velocity: Velocity, condition: Condition, nothing: Condition, guidance: float
) -> Field:
    """Return the field v0 + g (v1 - v0) (Ho & Salimans 2022), v0 without the condition, v1 with it.

    Both are evaluated in one batch; a guidance of 1 needs only v1, of 0 only v0.
    """
    if guidance in (0, 1):
        chosen = condition if guidance == 1 else nothing
        return lambda x, t: velocity(x, t, chosen)
    both = join(condition, nothing)

    def follow(x: X, t: Times) -> X:
        twice = x.repeat(2, *(1 for _ in x.shape[1:])), t.repeat(2)
        with_condition, without = velocity(*twice, both).chunk(2)
        return without + guidance * (with_condition - without)

    return follow


def field_in_parts(fields: Sequence[Field], size: int) -> Field:
    """Return the field of a batch of which each `size` rows have a field of their own.

    The last part is padded with copies of its last row, so that all have the same shape.
    """

    def follow(x: X, t: Times) -> X:
        parts = [
            field(pad_rows(x_part, size), pad_rows(t_part, size))
            for field, x_part, t_part in zip(fields, x.split(size), t.split(size), strict=True)
        ]
        return torch.cat(parts)[: len(x)]

    return follow


def join(first: Condition, second: Condition) -> Condition:
    """Return the conditions of two batches as that of one; shorter texts are padded."""
    length = max([c.words[0].keys.shape[2] for c in (first, second) if c.words], default=0)
    pairs = zip(first.words, second.words, strict=True)
    words = tuple(
        KeysAndValues(*(_join_padded(a, b, length, 2) for a, b in zip(*pair, strict=True)))
        for pair in pairs
    )
    mask = None
    if first.mask is not None and second.mask is not None:
        mask = _join_padded(first.mask, second.mask, length, 1)
    vector = torch.cat([first.vector, second.vector])
    rest = (
        None if a is None or b is None else torch.cat([a, b])
        for a, b in zip(first[3:], second[3:], strict=True)
    )
    return Condition(vector, words, mask, *rest)


def _join_padded(first: Tensor, second: Tensor, length: int, dim: int) -> Tensor:
    """Concatenate two tensors whose dimension `dim` is padded at its end."""
    missing = [[0, 0] * (x.ndim - 1 - dim) + [0, length - x.shape[dim]] for x in (first, second)]
    return torch.cat([F.pad(first, missing[0]), F.pad(second, missing[1])])
