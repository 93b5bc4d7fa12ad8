"""What a model is given, checked: images of its size, masks of theirs, labels that it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.data.masks import Missing


def pixels_for(info: DatasetInfo, images: Images) -> UInt8[Tensor, "n height width channel"]:
    """The pixels as a tensor. Raises UsageError where they are not of the model's size."""
    expected = (info.height, info.width, info.channels)
    if images.pixels.shape[1:] != expected:
        raise UsageError(
            f"this model takes images of {'x'.join(map(str, expected))} "
            f"(height, width, channels), not {'x'.join(map(str, images.pixels.shape[1:]))}."
        )
    return torch.from_numpy(np.array(images.pixels))


def refuse_other_shape(images: Images, missing: Missing) -> None:
    """Raises UsageError where a mask is not of its images' number and size."""
    expected = images.pixels.shape[:3]
    if tuple(missing.shape) != expected:
        raise UsageError(f"the mask is {list(missing.shape)}, the images {list(expected)}.")


def class_of(config: Any, info: DatasetInfo, label: str) -> int:
    """The class number of a label's name; `config.condition` says whether the model sees labels.

    Raises UsageError where it does not, or knows no such label.
    """
    if config.condition == "none":
        raise UsageError(
            "this model was trained without labels; train with --condition label to ask for one"
        )
    return info.label_index(label)
