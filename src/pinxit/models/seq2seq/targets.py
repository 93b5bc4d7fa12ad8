"""What a sequence-to-sequence model writes: text tokens, or the codes of an image.

A target embeds the tokens before each position, turns the decoder's output into logits, and has the
loss. `start_prefix` returns the same embedding and logits one position at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.data.text_tokenizer import EOS, PAD
from pinxit.models.image_codecs import ImageCodec
from pinxit.models.results import Loss
from pinxit.models.seq2seq.code_embeddings import CodeEmbedding, Codes, LocalContextEmbedding
from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.seq2seq.text_embedding import TextEmbedding, Tokens
from pinxit.nn.attention import Hidden
from pinxit.nn.layers import SharedModule
from pinxit.nn.positions import RotaryCache, axial_rotary_cache, rotary_cache

Logits = Float[Tensor, "batch length vocab"]


class Prefix(Protocol):
    """The generated tokens of a batch, during cached decoding."""

    def embed(self, token: Int64[Tensor, " batch"] | None, t: int) -> Hidden:
        """The decoder's input at position `t`. `token` is the previous one; None: at t = 0."""
        ...

    def logits(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch vocab"]: ...

    def index_select(self, rows: Tensor) -> Prefix: ...


class Target(nn.Module):
    """A sequence of `length` positions, with learned positional embeddings and rotary positions."""

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
        """The rotary positions from `start` to before `end`."""
        return self.rotary[0, start:end], self.rotary[1, start:end]

    def embed_prefix(self, prefix: Tokens, encoded: EncoderOutput) -> Hidden:
        """Embed the decoder's input at each position from the tokens before it."""
        raise NotImplementedError

    def logits(self, h: Hidden) -> Logits:
        """Logits of the token at each position."""
        raise NotImplementedError

    def loss(self, logits: Logits, tokens: Tokens) -> Loss:
        """-log p(target | source) from the logits of all positions."""
        raise NotImplementedError

    def start_prefix(self, encoded: EncoderOutput) -> Prefix:
        """An empty prefix, for cached decoding."""
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

    def embed_prefix(self, prefix: Tokens, encoded: EncoderOutput) -> Hidden:
        return self.embed_tokens(prefix) + self.pos_embed[: prefix.shape[1]]

    def logits(self, h: Hidden) -> Logits:
        return self.head(h)

    def loss(self, logits: Logits, tokens: Tokens) -> Loss:
        """In nats per caption; an image without a caption (EOS alone) counts as 0."""
        targets = tokens[:, 1:].clone()
        targets[tokens[:, 0] == EOS] = PAD
        summed = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"
        )
        nll = summed / len(tokens)
        num_tokens = (targets != PAD).sum().clamp(min=1)
        parts = {"nll": nll.detach(), "nll_per_token": (summed / num_tokens).detach()}
        return Loss(nll, parts, "nats per caption")

    def start_prefix(self, encoded: EncoderOutput) -> TextPrefix:
        return TextPrefix(self)


class TextPrefix:
    """The decoder's input depends on the previous token only."""

    def __init__(self, target: TextTarget) -> None:
        self.target = target

    def embed(self, token: Int64[Tensor, " batch"] | None, t: int) -> Hidden:
        assert token is not None, "a text starts with its language token"
        return self.target.embed_tokens(token)[:, None] + self.target.pos_embed[t]

    def logits(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch vocab"]:
        return self.target.head(h)

    def index_select(self, rows: Tensor) -> TextPrefix:
        return self


class CodeTarget(Target):
    """The codes of an image in raster order.

    `aligned`: the source ends with one vector for each code of the target, as in an edit. The
    decoder then gets the source vector at its own position too, so it can copy without attention.
    """

    aligned_source: nn.Linear | None

    def __init__(
        self,
        codec: ImageCodec,
        fsq_levels: Sequence[int],
        width: int,
        num_heads: int,
        aligned: bool,
    ) -> None:
        rows, columns = codec.grid
        super().__init__(
            rows * columns, width, axial_rotary_cache(rows, columns, width // num_heads)
        )
        self.grid, self.codec = codec.grid, SharedModule(codec)
        self.local_context = LocalContextEmbedding(codec.num_codes, fsq_levels, codec.grid, width)
        self.head = CodeEmbedding(codec.num_codes, fsq_levels, width)
        self.aligned_source = nn.Linear(width, width) if aligned else None

    def project_aligned_source(self, encoded: EncoderOutput) -> Hidden | None:
        """The projected source vector at each position of the target; None if not aligned."""
        if self.aligned_source is None:
            return None
        return self.aligned_source(encoded.hidden[:, -self.length :])

    def embed_prefix(self, prefix: Codes, encoded: EncoderOutput) -> Hidden:
        h = self.local_context(prefix)
        h = h + self.pos_embed[: h.shape[1]]
        aligned = self.project_aligned_source(encoded)
        return h if aligned is None else h + aligned[:, : h.shape[1]]

    def logits(self, h: Hidden) -> Logits:
        return h @ self.head()[0].T

    def loss(self, logits: Logits, tokens: Codes) -> Loss:
        """In nats per image."""
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten()) * self.length
        return Loss(nll, {"nll": nll.detach()})

    def start_prefix(self, encoded: EncoderOutput) -> CodePrefix:
        batch, device = len(encoded.hidden), encoded.hidden.device
        codes = torch.empty(batch, 0, dtype=torch.long, device=device)
        return CodePrefix(self, codes, self.project_aligned_source(encoded))


class CodePrefix:
    """The codes generated so far; the tables of the target's embeddings are computed once."""

    def __init__(self, target: CodeTarget, codes: Codes, aligned: Hidden | None) -> None:
        self.target, self.codes, self.aligned = target, codes, aligned
        self.context_table, self.output_table = target.local_context.table(), target.head()[0]

    def embed(self, token: Int64[Tensor, " batch"] | None, t: int) -> Hidden:
        if token is not None:
            self.codes = torch.cat((self.codes, token[:, None]), 1)
        h = self.target.local_context(self.codes, self.context_table, start=t)
        h = h + self.target.pos_embed[t]
        return h if self.aligned is None else h + self.aligned[:, t : t + 1]

    def logits(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch codes"]:
        return h @ self.output_table.T

    def index_select(self, rows: Tensor) -> CodePrefix:
        aligned = None if self.aligned is None else self.aligned[rows]
        return CodePrefix(self.target, self.codes[rows], aligned)
