"""The decoder one position at a time, with a key/value cache."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.seq2seq.model import Seq2Seq


class CachedDecoder:
    """Decode one position after another: `decoder(token, t)` equals `logits` at position `t`."""

    def __init__(self, model: Seq2Seq[Any], encoded: EncoderOutput) -> None:
        self.target, self.decoder = model.target, model.decoder
        self.sources = self.decoder.project_source(encoded)
        batch, max_len = len(encoded.hidden), self.target.length
        self.caches = self.decoder.empty_caches(batch, max_len, encoded.hidden)
        self.state = self.target.start_decoding(encoded)

    def __call__(self, token: Int64[Tensor, " n"] | None, t: int) -> Float[Tensor, "n vocab"]:
        """Return the logits at position `t`, after the token `token`.

        At position 0 that is the language token of a text, and None for an image.
        """
        h = self.state.append_and_embed(token, t)
        rotary = self.target.rotary_slice(t, t + 1)
        h = self.decoder.step(h, self.sources, rotary, self.caches, t)
        return self.state.logits(h).float()

    def select_rows(self, rows: Int64[Tensor, " n"]) -> None:
        """Continue with these rows of the batch; a row may occur several times."""
        self.sources = [source.index_select(rows) for source in self.sources]
        self.caches = [cache.index_select(rows) for cache in self.caches]
        self.state = self.state.index_select(rows)
