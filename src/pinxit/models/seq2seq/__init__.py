"""Sequence to sequence between text and images (Vaswani et al. 2017, "Attention Is All You Need").

    source -> encoder -> decoder: predicts the target left to right, each token from the previous
                                  ones and, by cross-attention, from the whole source

One family, four directions: a caption to an image (draw), an image to a caption (caption), an image
and an instruction to an image (edit), a text to another language (translate). Target images are
codes of an image tokenizer or of a palette, source images are patches or codes; text is BPE tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models import get_family
from pinxit.models.components import Component, are_large
from pinxit.models.seq2seq.config import DIRECTIONS as DIRECTIONS
from pinxit.models.seq2seq.config import Config as Config
from pinxit.models.seq2seq.config import variants as variants
from pinxit.models.seq2seq.prepare import prepare as prepare

if TYPE_CHECKING:
    from pinxit.models.export_parts import AnyPart
    from pinxit.models.seq2seq.model import Seq2Seq

PUBLIC_NAME = "Seq2Seq"
# other kinds of models, to which this family is the nearest here
NEAR_KINDS = (
    "dalle",
    "dall-e",
    "captioner",
    "captioning",
    "t5",
    "encoder-decoder",
)
SUMMARY = "Train a model that generates images from text, text from images, or edits."
EXAMPLES = (
    "pinxit train seq2seq shapes:2000 --minutes 5",
    "pinxit train seq2seq captioned-photos/ --source image --target text",
    "pinxit train seq2seq shapes-edits:2000 --source image+text --minutes 10",
)
ABILITIES = tuple(DIRECTIONS)


def max_cpu_batch(config: Config) -> int | None:
    """Return the largest default batch size on a CPU: small networks gain from many steps."""
    return 32


TOKENIZER_SHARE = 0.2  # of the budget


def component(config: Config, info: DatasetInfo) -> Component | None:
    """Return the image tokenizer, unless one is named, or a palette is asked for or does."""
    has_palette = config.palette_patch_size or config.palette_size
    if not config.has_codes or config.image_tokenizer or has_palette or not are_large(info):
        return None
    return Component("image_tokenizer", get_family("tokenizer").Config(), TOKENIZER_SHARE)


def build(config: Config, info: DatasetInfo) -> Seq2Seq:
    """Build the model of a configuration: one of four classes, by direction."""
    from pinxit.models.seq2seq.directions import build_direction  # imports torch

    return build_direction(config.resolve(info), info)


def export_parts(model: Seq2Seq) -> tuple[AnyPart, ...]:
    """Return the parts of a model that other programs can run."""
    from pinxit.models.seq2seq.onnx_parts import export_parts

    return export_parts(model)
