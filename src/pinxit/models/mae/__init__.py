"""Masked autoencoder (He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners").

    visible patches -> encoder -> + mask tokens for the other patches -> decoder -> pixels

trained on the squared error of the masked patches. It learns features, and completes images with
the mean of what is possible. It has no likelihood and cannot sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.mae.config import Config as Config

if TYPE_CHECKING:
    from pinxit.models.export_parts import AnyPart
    from pinxit.models.mae.model import MaskedAutoencoder

PUBLIC_NAME = "MAE"
# other kinds of models, to which this family is the nearest here
NEAR_KINDS = (
    "bert",
    "beit",
    "simmim",
    "vit",
)
SUMMARY = "Train a masked autoencoder: it learns features by predicting masked patches."
ABILITIES = ("complete", "embed")


def build(config: Config, info: DatasetInfo) -> MaskedAutoencoder:
    """Build the model of a configuration, for images with this `info`."""
    from pinxit.models.mae.model import MaskedAutoencoder

    return MaskedAutoencoder(config.resolve(info), info)


def export_parts(model: MaskedAutoencoder) -> tuple[AnyPart, ...]:
    """Return the parts of a model that other programs can run."""
    from pinxit.models.mae.onnx_parts import export_parts

    return export_parts(model)
