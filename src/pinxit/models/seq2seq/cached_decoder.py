"""The decoder one position at a time, with a key/value cache."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.seq2seq.folded_layer import FoldedLayer, Rotation
from pinxit.models.seq2seq.model import Seq2Seq


class CachedDecoder:
    """Decode one position after another: `decoder(token, t)` equals `logits` at position `t`."""

    def __init__(self, model: Seq2Seq[Any], encoded: EncoderOutput) -> None:
        self.target, decoder = model.target, model.decoder
        sources = decoder.project_source(encoded)
        self.layers = [
            FoldedLayer(block, source, self.target.length)
            for block, source in zip(decoder.layers, sources, strict=True)
        ]
        self.norm = decoder.norm
        self.rotation = Rotation.from_rotary(self.target.rotary, decoder.num_heads)
        self.state = self.target.start_decoding(encoded)

    def __call__(self, token: Int64[Tensor, " n"] | None, t: int) -> Float[Tensor, "n vocab"]:
        """Return the logits at position `t`, after the token `token`.

        At position 0 that is the language token of a text, and None for an image.
        """
        x = self.state.append_and_embed(token, t)
        for layer in self.layers:
            x = layer(x, self.rotation, t)
        return self.state.logits(self.norm(x)).float()

    def select_rows(self, rows: Int64[Tensor, " n"]) -> None:
        """Continue with these rows of the batch; a row may occur several times."""
        for layer in self.layers:
            layer.select_rows(rows)
        self.state = self.state.index_select(rows)
