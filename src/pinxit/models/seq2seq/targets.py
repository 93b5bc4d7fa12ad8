"""Targets of a sequence-to-sequence model: text tokens, or the codes of an image.

A target embeds the decoder's inputs, turns its outputs into logits and computes the loss, for all
positions at once. `start_decoding` returns a `DecodingState`, which computes the same embeddings
and logits one position at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.data.special_tokens import EOS, PAD
from pinxit.models.image_codecs import ImageCodec
from pinxit.models.results import Loss
from pinxit.models.seq2seq.code_embeddings import CodeEmbedding, Codes, LocalContextEmbedding
from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.text_embedding import TextEmbedding, Tokens
from pinxit.nn.attention import Hidden
from pinxit.nn.layers import SharedModule
from pinxit.nn.positions import RotaryCache, axial_rotary_cache, rotary_cache

Logits = Float[Tensor, "batch length vocab"]


class DecodingState(Protocol):
    """What cached decoding of a batch keeps of the tokens generated so far."""

    def append_and_embed(
        self, token: Int64[Tensor, " batch"] | None, t: int
    ) -> Float[Tensor, "batch width"]:
        """Append the token before position `t` and return the decoder's input at `t`.

        `token` is None if nothing comes before position 0.
        """
        ...

    def logits(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch vocab"]: ...

    def index_select(self, rows: Tensor) -> DecodingState:
        """Return the state of these rows of the batch; a row may occur several times."""
        ...


class Target(nn.Module):
    """Output side of the decoder: input embedding, logits and loss of one modality.

    Has `length` positions, with learned positional embeddings and rotary positions.
    """

    rotary: Tensor  # cosines and sines, `[2, length, half]`

    def __init__(self, length: int, width: int, rotary: RotaryCache) -> None:
        super().__init__()
        self.length = length
        self.pos_embed = nn.Parameter(torch.empty(length, width))
        self.register_buffer("rotary", torch.stack(rotary), persistent=False)

    def init_pos_embed(self) -> None:
        """Normal with standard deviation 0.02."""
        nn.init.normal_(self.pos_embed, std=0.02)

    def rotary_slice(self, start: int, end: int) -> RotaryCache:
        """Return the rotary positions from `start` to before `end`."""
        return self.rotary[0, start:end], self.rotary[1, start:end]

    def embed_inputs(self, prefix: Tokens, encoded: EncoderOutput) -> Hidden:
        """Embed the decoder's inputs of all positions, with teacher forcing.

        `prefix`: the target's tokens without the last one, or fewer.
        """
        raise NotImplementedError

    def logits(self, h: Hidden) -> Logits:
        """Return logits of the token at each position."""
        raise NotImplementedError

    def loss(self, logits: Logits, tokens: Tokens) -> Loss:
        """-log p(target | source) from the logits of all positions."""
        raise NotImplementedError

    def start_decoding(self, encoded: EncoderOutput) -> DecodingState:
        """Return the state before the first token, for cached decoding."""
        raise NotImplementedError


class TextTarget(Target):
    """A text: starts with its language token, which is not predicted, and ends with EOS."""

    def __init__(self, text: TextEmbedding, width: int, num_heads: int) -> None:
        length = text.max_len - 1
        super().__init__(length, width, rotary_cache(length, width // num_heads))
        self.text = SharedModule(text)
        self.head = nn.Linear(width, text.vocab_size, bias=False)

    def embed_tokens(self, tokens: Tokens) -> Hidden:
        """Token embeddings, without positions."""
        return self.text.module.token_embed(tokens)

    def embed_inputs(self, prefix: Tokens, encoded: EncoderOutput) -> Hidden:
        return self.embed_tokens(prefix) + self.pos_embed[: prefix.shape[1]]

    def logits(self, h: Hidden) -> Logits:
        return self.head(h)

    def loss(self, logits: Logits, tokens: Tokens) -> Loss:
        """In nats per image; an image without a caption (EOS alone) counts as 0.

        Not per caption: a batch that is divided is a sum of parts with weights by their images.
        """
        targets = tokens[:, 1:].clone()
        targets[tokens[:, 0] == EOS] = PAD
        summed = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"
        )
        nll = summed / len(tokens)
        num_tokens = (targets != PAD).sum().clamp(min=1)
        parts = {"nll": nll.detach(), "nll_per_token": (summed / num_tokens).detach()}
        return Loss(nll, parts)

    def start_decoding(self, encoded: EncoderOutput) -> TextDecodingState:
        return TextDecodingState(self)


class TextDecodingState:
    """Stores nothing: the decoder's input depends on the previous token only."""

    def __init__(self, target: TextTarget) -> None:
        self.target = target

    def append_and_embed(
        self, token: Int64[Tensor, " batch"] | None, t: int
    ) -> Float[Tensor, "batch width"]:
        assert token is not None, "a text starts with its language token"
        return self.target.embed_tokens(token) + self.target.pos_embed[t]

    def logits(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch vocab"]:
        return self.target.head(h)

    def index_select(self, rows: Tensor) -> TextDecodingState:
        return self


class CodeTarget(Target):
    """The codes of an image in raster order.

    `is_aligned`: the source ends with one vector for each code of the target, as in an edit. A
    projection of the vector at the same position is then added to the decoder's input, so that the
    decoder can copy without attention.
    """

    source_proj: nn.Linear | None  # None: not aligned

    def __init__(
        self,
        codec: ImageCodec,
        fsq_levels: Sequence[int],
        width: int,
        num_heads: int,
        is_aligned: bool,
    ) -> None:
        rows, columns = codec.grid
        super().__init__(
            rows * columns, width, axial_rotary_cache(rows, columns, width // num_heads)
        )
        self.grid, self.codec = codec.grid, SharedModule(codec)
        self.local_context = LocalContextEmbedding(codec.num_codes, fsq_levels, codec.grid, width)
        self.head = CodeEmbedding(codec.num_codes, fsq_levels, width)
        self.source_proj = nn.Linear(width, width) if is_aligned else None

    def project_aligned_source(self, encoded: EncoderOutput) -> Hidden | None:
        """Return the projected source vector at each position; None if not aligned."""
        if self.source_proj is None:
            return None
        return self.source_proj(encoded.hidden[:, -self.length :])

    def embed_inputs(self, prefix: Codes, encoded: EncoderOutput) -> Hidden:
        h = self.local_context(prefix)
        h = h + self.pos_embed[: h.shape[1]]
        aligned_source = self.project_aligned_source(encoded)
        return h if aligned_source is None else h + aligned_source[:, : h.shape[1]]

    def logits(self, h: Hidden) -> Logits:
        return h @ self.head.weight_matrix().T

    def loss(self, logits: Logits, tokens: Codes) -> Loss:
        """In nats per image."""
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten()) * self.length
        return Loss(nll, {"nll": nll.detach()})

    def start_decoding(self, encoded: EncoderOutput) -> CodeDecodingState:
        batch, outside = len(encoded.hidden), self.local_context.num_codes
        return CodeDecodingState(
            target=self,
            codes=self.local_context.neighbours.new_full((batch, self.length + 1), outside),
            aligned_source=self.project_aligned_source(encoded),
            context_table=self.local_context.table(),
            output_weight=self.head.weight_matrix(),
        )


@dataclass
class CodeDecodingState:
    """The codes generated so far, and tensors that are computed once per batch."""

    target: CodeTarget
    codes: Int64[Tensor, "batch length_and_one"]  # those to come, and the last: outside the grid
    aligned_source: Hidden | None  # at all positions
    context_table: Float[Tensor, "rows width"]  # of `target.local_context`
    output_weight: Float[Tensor, "codes width"]  # of `target.head`

    def append_and_embed(
        self, token: Int64[Tensor, " batch"] | None, t: int
    ) -> Float[Tensor, "batch width"]:
        if token is not None:
            self.codes[:, t - 1] = token
        h = self.target.local_context.embed_position(self.codes, self.context_table, t)
        h = h + self.target.pos_embed[t]
        return h if self.aligned_source is None else h + self.aligned_source[:, t]

    def logits(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch codes"]:
        return h @ self.output_weight.T

    def index_select(self, rows: Tensor) -> CodeDecodingState:
        aligned_source = None if self.aligned_source is None else self.aligned_source[rows]
        return dataclasses.replace(self, codes=self.codes[rows], aligned_source=aligned_source)
