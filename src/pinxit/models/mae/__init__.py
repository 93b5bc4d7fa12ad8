"""Masked autoencoder (He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners").

    a few patches -> encoder (those alone) -> decoder (mask tokens at all other places) -> pixels

trained on the squared error of the patches that were not seen. It learns what images are like,
and completes them with the average of what could be there: no chance, hence nothing to sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinxit.data.batch import DatasetInfo
from pinxit.models.mae.config import Config as Config

if TYPE_CHECKING:
    from pinxit.models.mae.model import MaskedAutoencoder

ABILITIES = ("complete", "embed")


def build(config: Config, info: DatasetInfo) -> MaskedAutoencoder:
    """The model of a configuration, for images with these facts."""
    from pinxit.models.mae.model import MaskedAutoencoder

    return MaskedAutoencoder(config.resolve(info), info)
