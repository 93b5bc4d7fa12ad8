"""Resolutions of the convolutional networks, and the levels of a ladder of latents. No torch."""

from __future__ import annotations

import math

from pinxit.data.batch import DatasetInfo

LevelShape = tuple[int, int, int]  # channels, rows, columns


class ResolutionPyramid:
    """Resolutions and channels of the conv networks, for images of 8 to 256 pixels a side.

    Each level halves the resolution until the shorter side is 4 to 7. Sides that 2^levels does not
    divide are padded; the decoder crops the padding.
    """

    def __init__(self, width: int, info: DatasetInfo) -> None:
        self.num_levels = count_resolutions(info)
        factor = 2**self.num_levels
        self.height, self.width = math.ceil(info.height / factor), math.ceil(info.width / factor)
        self.padding = (self.width * factor - info.width, self.height * factor - info.height)
        # channels double with each level, up to 8 times: the finest maps stay thin
        self.channels = [width * min(8, 2**level) for level in range(self.num_levels)]

    @property
    def num_features(self) -> int:
        """Number of features at the coarsest level."""
        return self.channels[-1] * self.height * self.width

    def size(self, stage: int) -> tuple[int, int]:
        """Rows and columns of a resolution, counted from the coarsest."""
        return self.height << stage, self.width << stage


def count_resolutions(info: DatasetInfo) -> int:
    """Return how many times these images are halved."""
    return max(1, int(math.log2(max(8, min(info.height, info.width)) / 4)))


def max_levels(info: DatasetInfo) -> int:
    """Return the most levels of a ladder of latents: a vector, and a grid at each resolution."""
    return 1 + count_resolutions(info)


def level_shapes(
    num_levels: int, latent_dim: int, latent_channels: int, info: DatasetInfo
) -> tuple[LevelShape, ...]:
    """Return the shapes of the levels of a ladder, from coarse to fine: the first is a vector."""
    pyramid = ResolutionPyramid(1, info)
    grids = (pyramid.size(stage) for stage in range(num_levels - 1))
    return ((latent_dim, 1, 1), *((latent_channels, *size) for size in grids))
