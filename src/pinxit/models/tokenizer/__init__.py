"""Image tokenizer: an image as a grid of integers (van den Oord 2017; Mentzer 2023).

    x -> encoder -> grid of vectors -> each rounded to one of a finite set -> decoder -> x

The set is a product of levels (finite scalar quantization, the default: no codebook to learn, no
dead codes) or a learned codebook (vector quantization). Autoregressive families train on the grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.tokenizer.config import Config as Config

if TYPE_CHECKING:
    from pinxit.models.export_parts import AnyPart
    from pinxit.models.tokenizer.model import ImageTokenizer

PUBLIC_NAME = "ImageTokenizer"
# other kinds of models, to which this family is the nearest here
NEAR_KINDS = (
    "vqvae",
    "vq-vae",
    "vqgan",
    "vq-gan",
    "vq",
    "fsq",
)
SUMMARY = "Train an image tokenizer: it turns images into tokens for other models, and back."
EXAMPLES = ("pinxit train tokenizer photos/ --size 32 --minutes 10 --out runs/tokenizer",)
ABILITIES = ("reconstruct", "tokenize", "embed")

USED_BY = "Generators train on its tokens: pinxit train seq2seq|igpt DATA --image-tokenizer RUN"


def max_cpu_batch(config: Config) -> int | None:
    """Return the largest default batch size on a CPU: many steps train best."""
    return 64


def build(config: Config, info: DatasetInfo) -> ImageTokenizer:
    """Build the model of a configuration, for images with this `info`."""
    from pinxit.models.tokenizer.model import ImageTokenizer

    return ImageTokenizer(config.resolve(info), info)


def export_parts(model: ImageTokenizer) -> tuple[AnyPart, ...]:
    """Return the parts of a model that other programs can run."""
    from pinxit.models.tokenizer.onnx_parts import export_parts

    return export_parts(model)
