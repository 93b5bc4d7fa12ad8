"""Clusters of images without labels and captions, from which they are generated as from labels.

Images that look alike share a cluster: their latents, averaged over parts of the grid and reduced
to principal components, are divided by k-means. The network learns more easily what images of one
cluster have in common, and samples can be guided (Hu 2023, "Self-guided diffusion models").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pinxit.models.latent_codecs import LatentCodec, Latents
from pinxit.nn.kmeans import kmeans
from pinxit.nn.principal_components import fit_principal_components

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images

MAX_SIDE = 4  # of the grid of averages
MAX_COMPONENTS = 16
FAR = 1e6  # where no image is
MAX_FITTED_IMAGES = 10_000
BATCH_SIZE = 64
NUM_RESTARTS = 4  # of k-means

Features = Float[Tensor, "n feature"]


class Clusters(nn.Module):
    """Finds the cluster of latents."""

    mean: Tensor
    components: Tensor
    centroids: Tensor

    def __init__(self, shape: tuple[int, int, int], num_clusters: int) -> None:
        super().__init__()
        channels, rows, columns = shape
        num_features = channels * min(rows, MAX_SIDE) * min(columns, MAX_SIDE)
        num_components = min(MAX_COMPONENTS, num_features)
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("components", torch.zeros(num_components, num_features))
        self.register_buffer("centroids", torch.zeros(num_clusters, num_components))

    def forward(self, latents: Latents) -> Int64[Tensor, " n"]:
        """Return the nearest centroid of each image."""
        with torch.autocast(latents.device.type, enabled=False):  # the same in any precision
            projected = (average_parts(latents.float()) - self.mean) @ self.components.T
            return torch.cdist(projected, self.centroids).argmin(1)

    def fit(self, latents: Latents, seed: int) -> None:
        """Fit components and centroids to the latents of images; of few, not all clusters exist."""
        num_clusters, num_components = self.centroids.shape
        features = average_parts(latents)
        components = fit_principal_components(features, num_components)
        directions = components.directions
        projected = components.project(features)
        num_clusters = min(num_clusters, len(features))
        centers = kmeans(projected, num_clusters, seed % 2**32, restarts=NUM_RESTARTS)
        self.centroids.fill_(FAR)
        self.mean.copy_(components.mean)
        self.components[: len(directions)] = directions
        self.centroids[: len(centers)] = F.pad(centers, (0, num_components - len(directions)))


def average_parts(latents: Latents) -> Features:
    """Return the means of at most 4 x 4 parts of the grid, of each channel."""
    rows, columns = (min(side, MAX_SIDE) for side in latents.shape[2:])
    return F.adaptive_avg_pool2d(latents, (rows, columns)).flatten(1)


@torch.inference_mode()
def encode_images(codec: LatentCodec, images: Images, rows: np.ndarray) -> Latents:
    """Return the standardized latents of these images: of the means of q(z|x)."""
    parts = []
    for start in range(0, len(rows), BATCH_SIZE):
        pixels = images.batch(rows[start : start + BATCH_SIZE]).pixels
        parts.append(codec.sample_latents(pixels, torch.zeros(len(pixels), *codec.shape)))
    return torch.cat(parts)
