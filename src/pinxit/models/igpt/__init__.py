"""iGPT: a transformer over image tokens (Chen 2020, "Generative Pretraining from Pixels").

    x -> patches -> palette indices, or codes of an image tokenizer: x_1 .. x_T -> transformer

trained autoregressively, p(x) = prod_t p(x_t | x_1 .. x_(t-1)): an exact likelihood, sampled token
by token; or with the BERT objective, which predicts masked tokens from all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.igpt.config import Config as Config
from pinxit.models.igpt.prepare import prepare as prepare

if TYPE_CHECKING:
    from pinxit.models.export_parts import AnyPart
    from pinxit.models.igpt.model import IGPT

PUBLIC_NAME = "IGPT"
# other kinds of models, to which this family is the nearest here
NEAR_KINDS = (
    "gpt",
    "imagegpt",
    "image-gpt",
    "transformer",
    "pixelcnn",
    "autoregressive",
    "maskgit",
)
SUMMARY = "Train iGPT: a transformer that predicts the tokens of an image one by one."
ABILITIES = ("sample", "complete", "score", "embed")


def build(config: Config, info: DatasetInfo) -> IGPT:
    """Build the model of a configuration, for images with this `info`."""
    from pinxit.models.igpt.model import IGPT

    return IGPT(config.resolve(info), info)


def export_parts(model: IGPT) -> tuple[AnyPart, ...]:
    """Return the parts of a model that other programs can run."""
    from pinxit.models.igpt.onnx_parts import export_parts

    return export_parts(model)
