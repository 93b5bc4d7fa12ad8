"""Generate texts from next-token log-probabilities: beam search (Wu 2016) and sampling.

A decoder is a function `step(token, t, rows)`, see `NextTokenFn`. Both searches return tokens
without EOS, and their log-probability with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.data.special_tokens import EOS
from pinxit.nn.interruption import check_interrupted
from pinxit.nn.token_sampling import SamplingParams

LogProbs = Float[Tensor, "rows vocab"]

# (last token of each row, its position t, rows of the previous call to continue; None: all) ->
# log-probabilities of the next token
NextTokenFn = Callable[[Int64[Tensor, " rows"], int, Int64[Tensor, " rows"] | None], LogProbs]


class Hypothesis(NamedTuple):
    """A generated text."""

    tokens: tuple[int, ...]  # without EOS
    log_prob: float  # with EOS, nats


def length_normalized(log_prob: float, length: int, penalty: float) -> float:
    """Return the score that ranks texts: log p / ((5 + length) / 6)^penalty (Wu 2016, eq. 14)."""
    return log_prob / ((5 + length) / 6) ** penalty


def beam_search(
    step: NextTokenFn,
    start: Int64[Tensor, " n"],
    max_len: int,
    num_beams: int,
    penalty: float = 0.6,
) -> list[list[Hypothesis]]:
    """Search the best texts of each row; returns at most `num_beams` per row, best first.

    `start` is the first token of each row. A text ends at EOS, which is forced after `max_len`
    tokens. `step` gets `n * num_beams` rows. The search stops when no unfinished text can enter
    the best `num_beams` any more.
    """
    n, device = len(start), start.device
    tokens = start.repeat_interleave(num_beams)[:, None]
    scores = torch.full((n, num_beams), -math.inf, device=device)
    scores[:, 0] = 0  # all beams of a row start equal: use one
    finished: list[list[Hypothesis]] = [[] for _ in range(n)]
    rows = None
    for t in range(max_len + 1):
        check_interrupted()
        log_probs = step(tokens[:, -1], t, rows).unflatten(0, (n, num_beams))
        if t == max_len:
            log_probs = _force_eos(log_probs)
        candidates = (scores[..., None] + log_probs).flatten(1)
        best = candidates.topk(min(2 * num_beams, candidates.shape[1]), 1)
        scores, rows, next_token = _expand(best, log_probs.shape[-1], tokens, finished, num_beams)
        if all(_is_done(finished[i], scores[i], num_beams, max_len, penalty) for i in range(n)):
            break
        tokens = torch.cat((tokens[rows], next_token[:, None]), 1)
    return [_rank(hypotheses, penalty)[:num_beams] for hypotheses in finished]


def _force_eos(log_probs: LogProbs) -> LogProbs:
    forced = torch.full_like(log_probs, -math.inf)
    forced[..., EOS] = log_probs[..., EOS]
    return forced


def _expand(
    best: torch.return_types.topk,
    vocab_size: int,
    tokens: Int64[Tensor, "rows t"],
    finished: list[list[Hypothesis]],
    num_beams: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Append the texts that end here to `finished`.

    Returns the scores `[n, num_beams]`, the rows they continue and the next tokens of the others.
    """
    n, device = len(finished), tokens.device
    scores = torch.full((n, num_beams), -math.inf)
    rows = torch.arange(n)[:, None].repeat(1, num_beams) * num_beams
    next_token = torch.full((n, num_beams), EOS)
    for i in range(n):
        slot = 0
        ranked = zip(best.values[i].tolist(), best.indices[i].tolist(), strict=True)
        for rank, (score, index) in enumerate(ranked):
            beam, token = divmod(index, vocab_size)
            row = i * num_beams + beam
            if score == -math.inf:
                break
            if token == EOS and rank < num_beams:
                finished[i].append(Hypothesis(tuple(tokens[row, 1:].tolist()), score))
            elif token != EOS and slot < num_beams:
                scores[i, slot], rows[i, slot], next_token[i, slot] = score, row, token
                slot += 1
    return scores.to(device), rows.flatten().to(device), next_token.flatten().to(device)


def _is_done(
    finished: list[Hypothesis],
    unfinished_scores: Float[Tensor, " beams"],
    num_beams: int,
    max_len: int,
    penalty: float,
) -> bool:
    """Return whether every unfinished text ranks below the best `num_beams` finished ones."""
    best_unfinished = float(unfinished_scores.max())
    if best_unfinished == -math.inf:
        return True
    if len(finished) < num_beams:
        return False
    bound = length_normalized(best_unfinished, max_len + 1, penalty)
    return _score(_rank(finished, penalty)[num_beams - 1], penalty) >= bound


def _rank(hypotheses: list[Hypothesis], penalty: float) -> list[Hypothesis]:
    return sorted(hypotheses, key=lambda hypothesis: -_score(hypothesis, penalty))


def _score(hypothesis: Hypothesis, penalty: float) -> float:
    return length_normalized(hypothesis.log_prob, len(hypothesis.tokens) + 1, penalty)


def sample_text(
    step: NextTokenFn,
    start: Int64[Tensor, " n"],
    uniforms: Float[Tensor, "n positions"],
    params: SamplingParams,
) -> list[Hypothesis]:
    """Sample one text for each row, token by token, with at most `positions - 1` tokens.

    `log_prob` is the model's own, whatever distribution `params` samples from.
    """
    n, max_len = uniforms.shape[0], uniforms.shape[1] - 1
    tokens, log_prob = start[:, None], torch.zeros(n, device=start.device)
    finished = torch.zeros(n, dtype=torch.bool, device=start.device)
    for t in range(max_len + 1):
        check_interrupted()
        log_probs = step(tokens[:, -1], t, None)
        if t == max_len:
            log_probs = _force_eos(log_probs)
        token = torch.where(finished, EOS, params.sample(log_probs, uniforms[:, t]))
        log_prob = log_prob + torch.where(finished, 0.0, log_probs.gather(1, token[:, None])[:, 0])
        finished = finished | (token == EOS)
        tokens = torch.cat((tokens, token[:, None]), 1)
        if bool(finished.all()):
            break
    texts = [row[1 : row.index(EOS, 1)] for row in tokens.tolist()]
    pairs = zip(texts, log_prob.tolist(), strict=True)
    return [Hypothesis(tuple(text), value) for text, value in pairs]
