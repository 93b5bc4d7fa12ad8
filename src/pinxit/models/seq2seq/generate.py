"""Generate image codes token by token: with a cache, without (the reference), and best of n."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.seq2seq.cached_decoder import CachedDecoder
from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.targets import CodeTarget
from pinxit.nn.interruption import check_interrupted
from pinxit.nn.token_sampling import SamplingParams

DECODE_BATCH = 16  # sources decoded together, always: results do not depend on the batch

Uniforms = Float[Tensor, "n codes"]  # the random numbers that tokens are sampled with


class GeneratedCodes(NamedTuple):
    """The codes of images, possibly not complete yet."""

    codes: Int64[Tensor, "n codes"]  # -1: not generated yet
    log_prob: Float[Tensor, " n"] | None  # given the source, at temperature 1, without guidance


# rates images given their codes and which of the sources each is of; higher is better
Scorer = Callable[[Int64[Tensor, "n codes"], Int64[Tensor, " n"]], Float[Tensor, " n"]]


def generate_codes(
    model: Seq2Seq[CodeTarget],
    encoded: EncoderOutput,
    uniforms: Uniforms,
    sampling: SamplingParams,
    guidance: float = 1.0,
    with_log_prob: bool = True,
) -> Iterator[GeneratedCodes]:
    """Generate code by code; yields after each row of codes.

    If guidance is not 1, the second half of `encoded` is the same sources without text, see
    `apply_guidance`.
    """
    decoder, n = CachedDecoder(model, encoded), len(uniforms)
    columns = model.target.grid[1]
    codes = torch.full(uniforms.shape, -1, device=uniforms.device)
    log_prob, token = uniforms.new_zeros(n) if with_log_prob else None, None
    for t in range(model.target.length):
        check_interrupted()
        logits = decoder(token, t)
        codes[:, t] = sampling.sample(apply_guidance(logits, n, guidance), uniforms[:, t])
        if log_prob is not None:
            log_probs = logits[:n].log_softmax(-1)
            log_prob = log_prob + log_probs.gather(1, codes[:, t : t + 1])[:, 0]
        token = codes[:, t] if guidance == 1 else codes[:, t].repeat(2)
        if (t + 1) % columns == 0:
            yield GeneratedCodes(codes, log_prob)


def apply_guidance(
    logits: Float[Tensor, "rows codes"], n: int, guidance: float
) -> Float[Tensor, "n codes"]:
    """uncond + guidance * (cond - uncond) (Ho & Salimans 2022, eq. 6); cond is the first n rows.

    Returns the logits unchanged if guidance is 1.
    """
    if guidance == 1:
        return logits
    cond_logits, uncond_logits = logits[:n], logits[n:]
    return uncond_logits + guidance * (cond_logits - uncond_logits)


def generate_best_of(
    model: Seq2Seq[CodeTarget],
    encoded: EncoderOutput,
    candidate_uniforms: Float[Tensor, "candidates n codes"],
    sampling: SamplingParams,
    guidance: float = 1.0,
    scorer: Scorer | None = None,
) -> Iterator[Int64[Tensor, "n codes"]]:
    """Generate a candidate of each of the first n <= `DECODE_BATCH` sources for each row of
    uniforms. Yields the first ones after each row of codes, then the best one of each source.

    The best has the highest score, or log-probability without a `scorer`; the first of equals.
    """
    num_candidates, n, _ = candidate_uniforms.shape
    uniforms = candidate_uniforms.flatten(0, 1)  # the first candidates come first
    sources = torch.arange(n, device=uniforms.device).repeat(num_candidates)
    with_log_prob = num_candidates > 1 and scorer is None
    finished = []
    for start in range(0, len(sources), DECODE_BATCH):
        rows = torch.arange(start, start + DECODE_BATCH, device=uniforms.device)
        rows = rows.clamp(max=len(sources) - 1)
        own = _select_sources(encoded, sources[rows], guidance)
        stream = generate_codes(model, own, uniforms[rows], sampling, guidance, with_log_prob)
        generated = None
        for generated in stream:
            if start == 0:
                yield generated.codes[:n]
        assert generated is not None, "an image has codes"
        finished.append(generated)
    if num_candidates == 1:
        return
    codes = torch.cat([part.codes for part in finished])[: len(sources)]
    if scorer is None:
        scores = torch.cat([part.log_prob for part in finished if part.log_prob is not None])
    else:
        scores = scorer(codes, sources)
    best = scores[: len(sources)].view(num_candidates, n).argmax(0)
    yield codes.unflatten(0, (num_candidates, n))[best, torch.arange(n, device=best.device)]


def _select_sources(
    encoded: EncoderOutput, rows: Int64[Tensor, " rows"], guidance: float
) -> EncoderOutput:
    """Return these sources; with guidance, also the same ones without text."""
    if guidance == 1:
        return encoded.index_select(rows)
    return encoded.index_select(torch.cat((rows, rows + len(encoded.hidden) // 2)))


def generate_codes_reference(
    model: Seq2Seq[CodeTarget],
    encoded: EncoderOutput,
    uniforms: Uniforms,
    sampling: SamplingParams,
    guidance: float = 1.0,
) -> Int64[Tensor, "n codes"]:
    """`generate_codes` without a cache: a full pass of the decoder for each code."""
    n = len(uniforms)
    codes = torch.empty(n, 0, dtype=torch.long)
    for t in range(model.target.length):
        prefix = codes if guidance == 1 else codes.repeat(2, 1)
        logits = apply_guidance(model.logits(encoded, prefix)[:, t].float(), n, guidance)
        codes = torch.cat((codes, sampling.sample(logits, uniforms[:, t])[:, None]), 1)
    return codes
