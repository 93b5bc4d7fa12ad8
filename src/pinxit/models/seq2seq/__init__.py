"""Sequence to sequence (Vaswani et al. 2017, "Attention Is All You Need"), of words and images.

    the whole source -> encoder -> decoder: the target left to right, each token from those before
                                            and, by cross-attention, from all of the source

One family, four directions: a caption to an image (draw), an image to a caption (caption), a
image and what to change to an image (edit), a text to another language (translate). Painted are
the codes of an image tokenizer or of a palette; read are patches or codes, and pieces of words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.seq2seq.config import DIRECTIONS as DIRECTIONS
from pinxit.models.seq2seq.config import Config as Config
from pinxit.models.seq2seq.config import variants as variants
from pinxit.models.seq2seq.prepare import prepare as prepare

if TYPE_CHECKING:
    from pinxit.models.seq2seq.model import Seq2Seq

PUBLIC_NAME = "Seq2Seq"
ABILITIES = tuple(DIRECTIONS)

BATCH = 32  # images a step on a CPU, at most: small networks and many steps win


def build(config: Config, info: DatasetInfo) -> Seq2Seq:
    """The model of a configuration: one of four classes, each with what it can do."""
    from pinxit.models.seq2seq.directions import CLASSES

    config = config.resolve(info)
    return CLASSES[config.ability](config, info)
