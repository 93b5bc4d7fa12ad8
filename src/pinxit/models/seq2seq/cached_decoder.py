"""The decoder one position at a time, with a key/value cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.nn.attention import KVCache

if TYPE_CHECKING:
    from pinxit.models.seq2seq.model import Seq2Seq
    from pinxit.models.seq2seq.sources import Read


Scores = Float[Tensor, "n vocabulary"]


class Steps:
    """The decoder one place at a time: `steps(token, t)` gives what `logits` has at place `t`."""

    def __init__(self, model: Seq2Seq, read: Read) -> None:
        self.model, self.sources = model, model.sources(read)
        config = model.config
        assert config.width and config.heads, "a resolved configuration"
        batch, head = len(read.hidden), config.width // config.heads
        self.caches = [
            KVCache.empty(batch, config.heads, model.steps, head, read.hidden) for _ in self.sources
        ]
        self.beside = model.beside_of(read)
        if model.paints:
            self.entering, self.leaving = model.around.table(), model.head()[0]
            self.painted = torch.empty(batch, 0, dtype=torch.long, device=read.hidden.device)

    def __call__(self, token: Int64[Tensor, " n"] | None, t: int) -> Scores:
        """`token` is what stands before place `t`: a mark or piece, a code, None at the start."""
        model = self.model
        if not model.paints:
            h = model.word(token)[:, None]
        else:
            if token is not None:
                self.painted = torch.cat((self.painted, token[:, None]), 1)
            h = model.around(self.painted, self.entering, since=t)
        h = h + model.places[t]
        if self.beside is not None:
            h = h + self.beside[:, t : t + 1]
        turn = model.turned(t, t + 1)
        for layer, source, cache in zip(model._layers, self.sources, self.caches, strict=True):
            h = layer(h, source, turn, cache, t)
        h = model.norm(h[:, 0])
        return (h @ self.leaving.T if model.paints else model.head(h)).float()

    def take(self, rows: Int64[Tensor, " n"]) -> None:
        """Go on with these rows of the batch, some of them perhaps several times."""
        self.sources = [source.index_select(rows) for source in self.sources]
        self.caches = [cache.index_select(rows) for cache in self.caches]
        if self.model.paints:
            self.painted = self.painted[rows]
        if self.beside is not None:
            self.beside = self.beside[rows]
