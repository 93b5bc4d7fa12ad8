"""Texts from a decoder: beam search with a length penalty (Wu 2016, eq. 14), or by chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.data.text_tokenizer import EOS
from pinxit.nn.token_sampling import SamplingParams

LogP = Float[Tensor, "n vocabulary"]


class Found(NamedTuple):
    """Tokens without the end, and their log-probability with it, in nats."""

    tokens: tuple[int, ...]
    log_p: float


# (the last token of each row, its place, the rows to go on with; None: all) to log-probabilities
Step = Callable[[Int64[Tensor, " n"], int, Int64[Tensor, " n"] | None], LogP]


def penalised(log_p: float, length: int, penalty: float) -> float:
    """What texts are ranked by: log p over ((5 + length) / 6)^penalty."""
    return log_p / ((5 + length) / 6) ** penalty


def beam_search(
    step: Step, start: Int64[Tensor, " n"], length: int, num_beams: int, penalty: float = 0.6
) -> list[list[Found]]:
    """For each row the best texts found, at most `num_beams`, the best first.

    A text is over at its END; at place `length` it must be. `step` sees `n * num_beams` rows. Stops
    where nothing that is still growing could come before what is found.
    """
    n, device = len(start), start.device
    tokens = start.repeat_interleave(num_beams)[:, None]
    total = torch.full((n, num_beams), -math.inf, device=device)
    total[:, 0] = 0  # all beams of a row are the same at first: one is enough
    done: list[list[Found]] = [[] for _ in range(n)]
    rows = None
    for t in range(length + 1):
        log_p = step(tokens[:, -1], t, rows).unflatten(0, (n, num_beams))
        if t == length:
            log_p = _end_alone(log_p)
        both = (total[..., None] + log_p).flatten(1)
        best = both.topk(min(2 * num_beams, both.shape[1]), 1)
        total, rows, token = _grown(best, log_p.shape[-1], tokens, done, num_beams, t)
        if all(_settled(done[i], total[i], num_beams, length, penalty) for i in range(n)):
            break
        tokens = torch.cat((tokens[rows], token[:, None]), 1)
    return [_ranked(found, penalty)[:num_beams] for found in done]


def _end_alone(log_p: LogP) -> LogP:
    only = torch.full_like(log_p, -math.inf)
    only[..., EOS] = log_p[..., EOS]
    return only


def _grown(
    best: torch.return_types.topk,
    vocabulary: int,
    tokens: Int64[Tensor, "rows t"],
    done: list[list[Found]],
    num_beams: int,
    t: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Puts texts that are over into `done`; the others' totals, rows and tokens, best first."""
    n, device = len(done), tokens.device
    total = torch.full((n, num_beams), -math.inf)
    rows = torch.arange(n)[:, None].repeat(1, num_beams) * num_beams
    token = torch.full((n, num_beams), EOS)
    for i in range(n):
        kept = 0
        ranked = zip(best.values[i].tolist(), best.indices[i].tolist(), strict=True)
        for rank, (value, at) in enumerate(ranked):
            beam, piece = divmod(at, vocabulary)
            if value == -math.inf:
                break
            if piece == EOS and rank < num_beams:
                done[i].append(Found(tuple(tokens[i * num_beams + beam, 1:].tolist()), value))
            elif piece != EOS and kept < num_beams:
                total[i, kept], rows[i, kept], token[i, kept] = value, i * num_beams + beam, piece
                kept += 1
    return total.to(device), rows.flatten().to(device), token.flatten().to(device)


def _settled(
    found: list[Found], growing: Tensor, num_beams: int, length: int, penalty: float
) -> bool:
    """Whether no text that still grows can come among the best."""
    hope = float(growing.max())
    if hope == -math.inf:
        return True
    if len(found) < num_beams:
        return False
    worst = _ranked(found, penalty)[num_beams - 1]
    return penalised(worst.log_p, len(worst.tokens) + 1, penalty) >= penalised(
        hope, length + 1, penalty
    )


def _ranked(found: list[Found], penalty: float) -> list[Found]:
    return sorted(found, key=lambda f: -penalised(f.log_p, len(f.tokens) + 1, penalty))


def by_chance(
    step: Step,
    start: Int64[Tensor, " n"],
    chance: Float[Tensor, "n places"],
    chances: SamplingParams,
) -> list[Found]:
    """For each row a text drawn token by token; `log_p` is the model's, whatever was drawn from."""
    n, length = chance.shape[0], chance.shape[1] - 1
    tokens, log_p = start[:, None], torch.zeros(n, device=start.device)
    over = torch.zeros(n, dtype=torch.bool, device=start.device)
    for t in range(length + 1):
        known = step(tokens[:, -1], t, None)
        if t == length:
            known = _end_alone(known)
        picked = torch.where(over, EOS, chances.sample(known, chance[:, t]))
        log_p = log_p + torch.where(over, 0.0, known.gather(1, picked[:, None])[:, 0])
        over = over | (picked == EOS)
        tokens = torch.cat((tokens, picked[:, None]), 1)
        if bool(over.all()):
            break
    texts = [row[1 : row.index(EOS, 1)] for row in tokens.tolist()]
    return [Found(tuple(text), value) for text, value in zip(texts, log_p.tolist(), strict=True)]
