"""What a sequence-to-sequence model reads: text tokens, image patches, or image codes."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

Pixels = UInt8[Tensor, "batch height width channel"]

Tokens = Int64[Tensor, "batch length"]  # of words: PAD where a text is over

Hidden = Float[Tensor, "batch length width"]

Logits = Float[Tensor, "batch length vocabulary"]

PLACED = 0.2  # of the sines that the places of an image begin with: about as large as its patches


class Read(NamedTuple):
    """A source as the encoder has it."""

    hidden: Hidden
    seen: Bool[Tensor, "batch length"]  # False: padding
