"""Generate image tokens: cached decoding, its reference, and iterative decoding for masked models.

All use the same uniform numbers, one per token, and sample by inversion of the distribution
function: an image depends on its own random numbers only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.igpt.cached_decoder import CachedDecoder
from pinxit.models.igpt.network import TokenTransformer
from pinxit.nn.interruption import check_interrupted
from pinxit.nn.token_sampling import SamplingParams

DECODE_BATCH = 32  # images; batches are padded to it, so that rounding does not depend on n
MAX_UNMASK_STEPS = 16  # of masked decoding

Tokens = Int64[Tensor, "n tokens"]


class GenerationInputs(NamedTuple):
    """Tokens to keep, labels, and the uniform numbers to sample with."""

    tokens: Tokens  # -1 where a token is to be generated
    labels: Int64[Tensor, " n"] | None
    uniforms: Float[Tensor, "n two tokens"]  # in [0, 1); the second: order of masked decoding

    def select(self, rows: Tensor) -> GenerationInputs:
        labels = None if self.labels is None else self.labels[rows]
        return GenerationInputs(self.tokens[rows], labels, self.uniforms[rows])

    def to(self, device: torch.device) -> GenerationInputs:
        labels = None if self.labels is None else self.labels.to(device)
        return GenerationInputs(self.tokens.to(device), labels, self.uniforms.to(device))


@torch.inference_mode()
def generate(
    network: TokenTransformer, inputs: GenerationInputs, sampling: SamplingParams
) -> Iterator[Tokens]:
    """Generate the missing tokens in batches of `DECODE_BATCH` images.

    Yields the tokens of all n images after each row (masked models: after each step), with -1 for
    those still missing.
    """
    n = len(inputs.tokens)
    decode = decode_cached if network.causal else decode_masked
    tokens = inputs.tokens.clone()
    for start in range(0, n, DECODE_BATCH):
        rows = (torch.arange(DECODE_BATCH) + start).clamp(max=n - 1)
        for generated in decode(network, inputs.select(rows).to(network.device), sampling):
            tokens[start : start + DECODE_BATCH] = generated[: n - start].cpu()
            yield tokens.clone()


def decode_cached(
    network: TokenTransformer, inputs: GenerationInputs, sampling: SamplingParams
) -> Iterator[Tokens]:
    """Generate token by token in raster order with a key/value cache; yield after each row."""
    tokens, uniforms = inputs.tokens.clone(), inputs.uniforms[:, 0]
    missing = (tokens < 0).any(0).tolist()  # positions where some image needs a token
    last = max((t for t, is_missing in enumerate(missing) if is_missing), default=-1)
    decoder = CachedDecoder(network, len(tokens))
    h = network.start_token(inputs.labels, len(tokens))
    for t in range(last + 1):
        check_interrupted()
        logits = decoder(h, t, need_logits=missing[t])
        if logits is not None:
            sampled = sampling.sample(logits, uniforms[:, t])
            tokens[:, t] = torch.where(tokens[:, t] < 0, sampled, tokens[:, t])
        if (t + 1) % network.columns == 0 or t == last:
            yield tokens
        h = network.token_embed(tokens[:, t])
    if last < 0:
        yield tokens


def decode_reference(
    network: TokenTransformer, inputs: GenerationInputs, sampling: SamplingParams
) -> Tokens:
    """`decode_cached` with a full forward pass per token."""
    tokens = inputs.tokens.clone()
    for t in range(network.seq_len):
        logits = network.logits(tokens.clamp(min=0), inputs.labels)[:, t]
        sampled = sampling.sample(logits, inputs.uniforms[:, 0, t])
        tokens[:, t] = torch.where(tokens[:, t] < 0, sampled, tokens[:, t])
    return tokens


def decode_masked(
    network: TokenTransformer, inputs: GenerationInputs, sampling: SamplingParams
) -> Iterator[Tokens]:
    """Iterative decoding: each step samples all missing tokens and keeps an equal share of them.

    Like MaskGIT (Chang 2022), but the tokens to keep are chosen at random, in the order of the
    image's own uniform numbers. Yields after each step.
    """
    tokens, (uniforms, order) = inputs.tokens.clone(), inputs.uniforms.unbind(1)
    initially_missing = tokens < 0
    rank = torch.where(initially_missing, order, 2.0).argsort(1).argsort(1)
    count = initially_missing.sum(1, keepdim=True)
    num_steps = num_unmask_steps(network.seq_len)
    for step in range(1, num_steps + 1):
        check_interrupted()
        missing = tokens < 0
        logits = network.logits(tokens.clamp(min=0), inputs.labels, missing)
        sampled = sampling.sample(logits, uniforms)
        keep = rank < (count * step / num_steps).ceil()
        tokens = torch.where(missing & keep, sampled, tokens)
        yield tokens


def num_unmask_steps(seq_len: int) -> int:
    """Number of steps of `decode_masked`."""
    return min(MAX_UNMASK_STEPS, seq_len)
