"""iGPT, images as sequences of tokens (Chen et al. 2020, "Generative Pretraining from Pixels").

    x -> blocks of pixels -> the nearest colours of a palette: x_1 .. x_T, row by row -> transformer

trained on every token given those before, p(x) = prod_t p(x_t given x_1 .. x_(t-1)), which is an
exact likelihood and paints token by token; or as BERT is, on hidden tokens given all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.igpt.config import Config as Config
from pinxit.models.igpt.prepare import prepare as prepare

if TYPE_CHECKING:
    from pinxit.models.igpt.model import IGPT

ABILITIES = ("sample", "complete", "score", "embed")


def build(config: Config, info: DatasetInfo) -> IGPT:
    """The model of a configuration, for images with these facts."""
    from pinxit.models.igpt.model import IGPT

    return IGPT(config.resolve(info), info)
