"""Principal components of pixels: a space in which a copy of an image is near, noisy or not.

Features for distances between sets are trained to ignore position and handwriting; the pixels
identify a copy. Most of the noise of sampled pixels is outside the components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32

from pinxit.data.images import Images

NUM_COMPONENTS = 64
MAX_SIDE = 16  # cells a side of the grid on which larger images are averaged
EMBED_BATCH = 1_000  # images in memory at once

Components = Float32[np.ndarray, "n component"]


@dataclass(frozen=True)
class PixelComponents:
    """The directions in which pixels vary most, of the images given to `fit`."""

    mean: Float32[np.ndarray, " cell"]
    directions: Float32[np.ndarray, "cell component"]

    @classmethod
    def fit(cls, images: Images) -> PixelComponents:
        """Compute the components of a few thousand images."""
        cells = np.concatenate(list(_iter_cells(images)))
        mean = cells.mean(0)
        vectors = np.linalg.eigh((cells - mean).T @ (cells - mean))[1]
        return cls(mean, np.ascontiguousarray(vectors[:, -NUM_COMPONENTS:]))

    def embed(self, images: Images) -> Components:
        """Return each image's part along the components, in grey levels."""
        parts = [(cells - self.mean) @ self.directions for cells in _iter_cells(images)]
        return np.concatenate([np.empty((0, self.directions.shape[1]), np.float32), *parts])


def _iter_cells(images: Images) -> Iterator[Float32[np.ndarray, "n cell"]]:
    side = min(images.height, MAX_SIDE), min(images.width, MAX_SIDE)
    for start in range(0, len(images), EMBED_BATCH):
        pixels = torch.from_numpy(np.array(images.pixels[start : start + EMBED_BATCH]))
        x = pixels.permute(0, 3, 1, 2).float()
        yield F.adaptive_avg_pool2d(x, side).flatten(1).numpy()
