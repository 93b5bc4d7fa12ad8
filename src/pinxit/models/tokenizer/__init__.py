"""Image tokenizer: an image as a few integers (van den Oord 2017; Mentzer 2023).

    x -> encoder -> a grid of vectors -> each rounded to one of a finite set -> decoder -> x

The set is a product of levels (finite scalar quantization, the default: nothing to learn, no code
dies) or a learned codebook (vector quantization, by running averages). The grid of integers is
what families that paint token by token learn from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.tokenizer.config import Config as Config

if TYPE_CHECKING:
    from pinxit.models.tokenizer.model import Tokenizer

ABILITIES = ("reconstruct", "tokenize", "embed")

BATCH = 64  # images a step on a CPU, at most: many steps win


def build(config: Config, info: DatasetInfo) -> Tokenizer:
    """The model of a configuration, for images with these facts."""
    from pinxit.models.tokenizer.model import Tokenizer

    return Tokenizer(config.resolve(info), info)
