"""Token by token to whole images: what to ask for, the obvious way, and the fast one.

All ways take the same uniform numbers, one a token, and pick by the inverse of the distribution
function: an image is a function of its numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.igpt.cached_decoder import Steps
from pinxit.nn.token_sampling import SamplingParams

if TYPE_CHECKING:
    from pinxit.models.igpt.model import IGPT

AT_ONCE = 32  # images; always as many, so that an image's neighbours do not change its rounding
UNMASK_STEPS = 16  # of a BERT's iterative unmasking

Tokens = Int64[Tensor, "n tokens"]


class Asked(NamedTuple):
    """What is to be filled in."""

    known: Tokens  # -1 where a token is to be painted
    labels: Int64[Tensor, " n"] | None
    chance: Float[Tensor, "n two tokens"]  # from 0 to 1: for a token, and for a BERT's order


@torch.inference_mode()
def filling(model: IGPT, asked: Asked, chances: SamplingParams) -> Iterator[Tokens]:
    """All tokens as they come: after each row of them (a BERT: each step), -1 for those to come.

    Images go together in equal numbers, the last ones filled up.
    """
    n, way = len(asked.known), painting if model.causal else unmasking
    tokens = asked.known.clone()
    for start in range(0, n, AT_ONCE):
        rows = (torch.arange(AT_ONCE) + start).clamp(max=n - 1)
        few = Asked(
            asked.known[rows],
            None if asked.labels is None else asked.labels[rows],
            asked.chance[rows],
        )
        for made in way(model, few, chances):
            tokens[start : start + AT_ONCE] = made[: n - start].cpu()
            yield tokens.clone()


def painting(model: IGPT, asked: Asked, chances: SamplingParams) -> Iterator[Tokens]:
    """Token after token in raster order with a cache of keys and values; yields after each row."""
    device = model.device
    tokens, chance = asked.known.to(device), asked.chance[:, 0].to(device)
    tokens = tokens.clone()
    due = (asked.known < 0).any(0).tolist()  # where no image has a token to paint, none is picked
    last = max((t for t, any_due in enumerate(due) if any_due), default=-1)
    labels = None if asked.labels is None else asked.labels.to(device)
    steps = Steps(model, len(tokens))
    h = model.start(labels, len(tokens))
    for t in range(last + 1):
        scores = steps(h, t, wanted=due[t])
        if scores is not None:
            picked = chances.sample(scores, chance[:, t])
            tokens[:, t] = torch.where(tokens[:, t] < 0, picked, tokens[:, t])
        if (t + 1) % model.columns == 0 or t == last:
            yield tokens
        h = model.embedding(tokens[:, t])
    if last < 0:
        yield tokens


def painting_slowly(model: IGPT, asked: Asked, chances: SamplingParams) -> Tokens:
    """The same by a whole forward pass for each token: the reference."""
    tokens = asked.known.clone()
    for t in range(model.seq_len):
        scores = model.logits(tokens.clamp(min=0), asked.labels)[:, t]
        picked = chances.sample(scores, asked.chance[:, 0, t])
        tokens[:, t] = torch.where(tokens[:, t] < 0, picked, tokens[:, t])
    return tokens


def unmasking(model: IGPT, asked: Asked, chances: SamplingParams) -> Iterator[Tokens]:
    """A BERT's way: all that is hidden is drawn at once, a few of it are kept, and so on.

    Which are kept is chance: an image's order is that of its own numbers.
    """
    device = model.device
    tokens, (chance, order) = asked.known.to(device).clone(), asked.chance.to(device).unbind(1)
    labels = None if asked.labels is None else asked.labels.to(device)
    missing = tokens < 0
    rank = torch.where(missing, order, 2.0).argsort(1).argsort(1)
    count = missing.sum(1, keepdim=True)
    for step in range(1, min(UNMASK_STEPS, model.seq_len) + 1):
        hidden = tokens < 0
        picked = chances.sample(model.logits(tokens.clamp(min=0), labels, hidden), chance)
        kept = rank < (count * step / min(UNMASK_STEPS, model.seq_len)).ceil()
        tokens = torch.where(hidden & kept, picked, tokens)
        yield tokens
