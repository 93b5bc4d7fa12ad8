"""Which training images a z could stand for, and their average: what a decoder should answer.

Of all answers f(z) the one with the least expected squared error, and with the highest expected
likelihood of a Bernoulli or a Gaussian p(x|z), is the mean of x given z. For n training images and
z ~ q(z|x) it is

    E[x | z] = sum_j w_j x_j,  w_j = q(z|x_j) / sum_k q(z|x_k).

Of a decoder that is given a label the sums are over the images of that label. exp of the entropy of
w is the effective number of training images at z. Of a grid of latents all this is of one position:
its latents, and the patch of pixels around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64, UInt8

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.evaluation.estimates import Estimate, estimate_mean
from pinxit.models.protocols import CanEncode
from pinxit.models.results import LatentPosterior, Posterior
from pinxit.sampling.inputs import labels_for

MAX_FLOPS = 1e11  # of all pairs of a z and an image
MIN_COVERING = 200  # training images
QUERIES_PER_BLOCK = 50  # bounds memory
MAX_COVERING = 1_000  # training images of an average: the others weigh next to nothing
CONTEXT = 1  # positions of a grid shown on each side of the one

Weights = Float32[np.ndarray, "queries n"]


@dataclass(frozen=True)
class Region:
    """The part of an image that some latents stand for: all of it, or a patch of a grid."""

    latents: Int[np.ndarray, " latent"]  # columns of the flat latents
    rows: slice
    columns: slice
    is_patch: bool

    @classmethod
    def of_model(cls, model: CanEncode, images: Images) -> Region:
        """Return the whole image, or of a grid the position in the middle and its surroundings."""
        shape = model.latent_shape
        if len(shape) == 1:
            return cls(np.arange(shape[0]), slice(None), slice(None), is_patch=False)
        channels, rows, columns = shape
        row, column = rows // 2, columns // 2
        height, width = -(-images.height // rows), -(-images.width // columns)
        latents = np.arange(channels * rows * columns).reshape(shape)[:, row, column]
        return cls(
            latents,
            _surround(row, height, images.height),
            _surround(column, width, images.width),
            is_patch=True,
        )

    def crop(self, pixels: np.ndarray) -> np.ndarray:
        """Return the part of images `[n, height, width, channel]`."""
        return pixels[:, self.rows, self.columns]

    def select(
        self, posterior: LatentPosterior, num_queries: int
    ) -> tuple[Int[np.ndarray, " n"], LatentPosterior]:
        """Return the rows of the images that are compared, and the posterior of the latents.

        All images, but of a posterior whose densities are slow fewer.
        """
        flat = posterior.flatten()
        if isinstance(flat, Posterior):
            columns = (part[:, self.latents] for part in flat)
            return np.arange(len(flat.mean)), Posterior(*columns)
        count = max(MIN_COVERING, int(MAX_FLOPS / (flat.flops_per_pair * num_queries)))
        rows = evenly_spaced_indices(len(flat.mean), count)
        return rows, flat.take(rows)


def _surround(index: int, size: int, end: int) -> slice:
    return slice(max(0, (index - CONTEXT) * size), min(end, (index + 1 + CONTEXT) * size))


class GivenLabels(NamedTuple):
    """The labels that a decoder is given beside z."""

    of_train: Int64[np.ndarray, " n"]
    of_queries: Int64[np.ndarray, " queries"]

    @classmethod
    def of_model(cls, model: object, train: Images, queries: Images) -> GivenLabels | None:
        """Return the labels of images; None if the model is not given any."""
        of_train, of_queries = labels_for(model, train), labels_for(model, queries)
        if of_train is None or of_queries is None:
            return None
        return cls(of_train, of_queries)


@dataclass(frozen=True)
class Cover:
    """The training images whose posterior covers each of some z."""

    effective_number: Float[np.ndarray, " queries"]
    averages: Float32[np.ndarray, "queries height width channel"]  # E[x | z] of the region
    nearest: Int[np.ndarray, "queries k"]  # rows of the training images of the largest weights
    weights: Float32[np.ndarray, "queries k"]  # theirs

    @property
    def best(self) -> int:
        """The query that most training images cover."""
        return int(np.argmax(self.effective_number))


def cover_weights(
    train: LatentPosterior,
    z: Float32[np.ndarray, "queries latent"],
    labels: GivenLabels | None = None,
) -> Float32[np.ndarray, "queries n"]:
    """Return w_j = q(z|x_j) / sum_k q(z|x_k) for each z, over the images of its label.

    A label that no training image has says nothing of them: the sum is then over all.
    """
    parts = []
    for start in range(0, len(z), QUERIES_PER_BLOCK):
        rows = slice(start, start + QUERIES_PER_BLOCK)
        joint = torch.from_numpy(train.log_prob(z[rows]))
        if labels is not None:
            is_other = labels.of_queries[rows, None] != labels.of_train
            is_other &= ~is_other.all(1, keepdims=True)
            joint = joint.masked_fill(torch.from_numpy(is_other), -torch.inf)
        parts.append(joint.softmax(1).float().numpy())
    return np.concatenate(parts)


def find_cover(
    train: LatentPosterior,
    train_images: Images,
    z: Float32[np.ndarray, "queries latent"],
    region: Region,
    num_nearest: int = 6,
    labels: GivenLabels | None = None,
) -> Cover:
    """Find the training images that each z could stand for. `train` and `z` are of the region.

    With `labels`, those that the decoder is given, z stands for images of its own label.
    """
    weights = cover_weights(train, z, labels)
    entropy = -(weights * np.log(np.maximum(weights, 1e-30))).sum(1)
    nearest = np.argsort(-weights, 1, kind="stable")[:, :num_nearest]
    averages = []
    for row in weights:
        top = np.argsort(-row, kind="stable")[:MAX_COVERING]
        top = np.sort(top[row[top] > 0])
        pixels = region.crop(train_images.pixels[top]).astype(np.float32)
        averages.append(np.tensordot(row[top] / row[top].sum(), pixels, 1))
    return Cover(
        np.exp(entropy.astype(np.float64)),
        np.stack(averages).astype(np.float32),
        nearest,
        np.take_along_axis(weights, nearest, 1),
    )


def distance_to_average(
    cover: Cover, decoded: UInt8[np.ndarray, "queries height width channel"]
) -> Estimate:
    """Return the RMS distance of decoded images to E[x | z], in grey levels, over the queries."""
    squares = np.square(decoded.astype(np.float32) - cover.averages).mean((1, 2, 3))
    mean = estimate_mean(squares)
    root = float(np.sqrt(mean.value))
    return Estimate(root, mean.error / (2 * root) if root else mean.error)
