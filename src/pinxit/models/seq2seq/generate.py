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
    log_prob: Float[Tensor, " n"]  # of the codes given the source, at temperature 1, no guidance


Scorer = Callable[[GeneratedCodes], Float[Tensor, " n"]]  # rates each image; higher is better


def generate_codes(
    model: Seq2Seq[CodeTarget],
    encoded: EncoderOutput,
    uniforms: Uniforms,
    sampling: SamplingParams,
    guidance: float = 1.0,
) -> Iterator[GeneratedCodes]:
    """Generate code by code; yields after each row of codes.

    If guidance is not 1, the second half of `encoded` is the same sources without text, see
    `apply_guidance`.
    """
    decoder, n = CachedDecoder(model, encoded), len(uniforms)
    columns = model.target.grid[1]
    codes = torch.full(uniforms.shape, -1, device=uniforms.device)
    log_prob, token = uniforms.new_zeros(n), None
    for t in range(model.target.length):
        check_interrupted()
        logits = decoder(token, t)
        codes[:, t] = sampling.sample(apply_guidance(logits, n, guidance), uniforms[:, t])
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
) -> Iterator[GeneratedCodes]:
    """Generate one candidate for each row of uniforms; yields the first one as `generate_codes`
    does, then the best candidate of each image.

    The best has the highest score, or log-probability without a `scorer`; the first of equals.
    """
    first, *others = candidate_uniforms
    best = None
    for best in generate_codes(model, encoded, first, sampling, guidance):
        yield best
    if best is None or not others:
        return
    scorer = scorer or _log_prob
    best_score = scorer(best)
    for uniforms in others:
        *_, candidate = generate_codes(model, encoded, uniforms, sampling, guidance)
        score = scorer(candidate)
        better = score > best_score
        best_score = torch.where(better, score, best_score)
        best = GeneratedCodes(
            torch.where(better[:, None], candidate.codes, best.codes),
            torch.where(better, candidate.log_prob, best.log_prob),
        )
    yield best


def _log_prob(generated: GeneratedCodes) -> Float[Tensor, " n"]:
    return generated.log_prob


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
