"""Generate image codes token by token: cached, reference, and best of several candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.data.text_tokenizer import PAD
from pinxit.models.seq2seq.cached_decoder import Steps
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import Read, Tokens
from pinxit.nn.token_sampling import SamplingParams

if TYPE_CHECKING:
    from pinxit.models.seq2seq.model import Seq2Seq
    from pinxit.models.seq2seq.sources import Read


AT_ONCE = 16  # sources together


def padded(tokens: Tokens, length: int) -> Tokens:
    """The same with PAD up to a length."""
    return torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=PAD)


class Painted(NamedTuple):
    """Images as far as they are painted."""

    codes: Int64[Tensor, "n codes"]  # -1 for those to come
    log_p: Float[Tensor, " n"]  # of the codes given the source, as learned: temperature 1, unguided


Scorer = Callable[[Painted], Float[Tensor, " n"]]  # of each image, higher the better


def painting(
    model: Seq2Seq,
    read: Read,
    chance: Float[Tensor, "n codes"],
    chances: SamplingParams,
    guidance: float = 1.0,
) -> Iterator[Painted]:
    """Code after code; yields after each row.

    With a guidance other than 1 the second half of `read` is of the same sources without words,
    and scores are s_without + guidance (s_with - s_without) (Ho & Salimans 2022, eq. 6).
    """
    steps, n = Steps(model, read), len(chance)
    assert model.codes is not None
    columns = model.codes.grid[1]
    codes = torch.full(chance.shape, -1, device=chance.device)
    log_p, token = chance.new_zeros(n), None
    for t in range(model.steps):
        scores = given = steps(token, t)
        if guidance != 1:
            given, free = scores[:n], scores[n:]
            scores = free + guidance * (given - free)
        codes[:, t] = chances.sample(scores, chance[:, t])
        log_p = log_p + given.log_softmax(-1).gather(1, codes[:, t : t + 1])[:, 0]
        token = codes[:, t] if guidance == 1 else codes[:, t].repeat(2)
        if (t + 1) % columns == 0:
            yield Painted(codes, log_p)


def best_of(
    model: Seq2Seq,
    read: Read,
    several: Float[Tensor, "tries n codes"],
    chances: SamplingParams,
    guidance: float = 1.0,
    scorer: Scorer | None = None,
) -> Iterator[Painted]:
    """Painted once for each chance: yields as the first try grows, then the best of each image.

    The best are the likeliest, or those that are `scorer` highest; the first of equals.
    """
    first, *others = several
    best = None
    for best in painting(model, read, first, chances, guidance):
        yield best
    if best is None or not others:
        return
    scorer = scorer or _likelihood
    most = scorer(best)
    for one in others:
        *_, another = painting(model, read, one, chances, guidance)
        value = scorer(another)
        better = value > most
        most = torch.where(better, value, most)
        best = Painted(
            torch.where(better[:, None], another.codes, best.codes),
            torch.where(better, another.log_p, best.log_p),
        )
    yield best


def _likelihood(painted: Painted) -> Float[Tensor, " n"]:
    return painted.log_p


def painting_slowly(
    model: Seq2Seq,
    read: Read,
    chance: Float[Tensor, "n codes"],
    chances: SamplingParams,
    guidance: float = 1.0,
) -> Int64[Tensor, "n codes"]:
    """The same by a whole pass of the decoder for each code: the reference."""
    n = len(chance)
    codes = torch.empty(n, 0, dtype=torch.long)
    for t in range(model.steps):
        before = codes if guidance == 1 else codes.repeat(2, 1)
        scores = model.logits(read, before)[:, t].float()
        if guidance != 1:
            scores = scores[n:] + guidance * (scores[:n] - scores[n:])
        codes = torch.cat((codes, chances.sample(scores, chance[:, t])[:, None]), 1)
    return codes
