"""Copies: images with the same pixels, and images that nearly equal each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int, Int64, UInt8

# two images nearly equal each other if their root mean square difference is at most
MAX_RMS = 8.0  # levels: that of a JPEG of moderate quality (30 dB), below that of two digits
MAX_RELATIVE_RMS = 0.15  # of the standard deviation of the image: their correlation is then 0.99

# near copies are searched by the means of the cells of a grid, where the noise averages out
GRID_SIDE = 8  # cells
MAX_GRID_RMS = 4.0  # levels between the grids of two images, on their principal components
NUM_COMPONENTS = 16
NUM_CANDIDATES = 4  # the nearest ones, which are compared pixel by pixel
FIT_IMAGES = 4_096  # images from which the components are computed
NUM_QUERIES = 64  # images that are compared with others at a time
BATCH_BYTES = 16 << 20  # of the pixels of the grids that are computed at a time

Pixels = UInt8[np.ndarray, "n height width channel"]


def index_pixels(pixels: Pixels) -> Int64[np.ndarray, " n"]:
    """Return a number per image, equal for images with the same pixels and for no others."""
    digests = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in pixels)
    return np.unique(np.frombuffer(digests, np.uint64), return_inverse=True)[1].astype(np.int64)


def near_copies(
    pixels: Pixels, rows: Int[np.ndarray, " k"], among: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " j"]:
    """Return those of `rows` that nearly equal an image of `among`."""
    if not len(rows) or not len(among):
        return rows[:0]
    sample = _grids(pixels, among[:: max(1, len(among) // FIT_IMAGES)])
    components = _principal_components(sample)
    radius = MAX_GRID_RMS * sample.shape[1] ** 0.5
    grids, queries = _grids(pixels, among, components), _grids(pixels, rows, components)
    is_near = np.zeros(len(rows), bool)
    for query, candidates in nearest_within(queries, grids, radius, NUM_CANDIDATES):
        is_near[query] = any(
            _nearly_equal(pixels[rows[query]], pixels[among[i]]) for i in candidates
        )
    return rows[is_near]


def nearest_within(
    queries: Float32[np.ndarray, "k dim"],
    points: Float32[np.ndarray, "n dim"],
    radius: float,
    count: int,
) -> Iterator[tuple[int, Int64[np.ndarray, " m"]]]:
    """Yield each query's row and those of up to `count` points within `radius`, the nearest first.

    A point within the radius is within it along the last dimension, too. So the points are sorted
    by that one, and a few queries at a time are compared with the points around them.
    """
    order, turn = np.argsort(points[:, -1]), np.argsort(queries[:, -1])
    points, last = points[order], points[order, -1]
    lengths = np.square(points).sum(1)
    for start in range(0, len(turn), NUM_QUERIES):
        batch = turn[start : start + NUM_QUERIES]
        ends = queries[batch[[0, -1]], -1] + np.array([-radius, radius], np.float32)
        low, high = np.searchsorted(last, ends[0], "left"), np.searchsorted(last, ends[1], "right")
        window = slice(low, high)
        squares = lengths[window] - 2 * queries[batch] @ points[window].T
        squares += np.square(queries[batch]).sum(1)[:, None]
        for query, row in zip(batch.tolist(), squares, strict=True):
            within = np.flatnonzero(row <= radius**2)
            nearest = within[np.argsort(row[within], kind="stable")[:count]]
            yield query, order[low + nearest]


def _nearly_equal(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = a.astype(np.float32), b.astype(np.float32)
    rms = float(np.sqrt(np.mean((a - b) ** 2)))
    return rms <= min(MAX_RMS, MAX_RELATIVE_RMS * float(a.std()))


def _principal_components(grids: Float32[np.ndarray, "n cell"]) -> np.ndarray:
    """Return the directions of largest variance, `[cell, component]`, with unit norm."""
    centred = grids - grids.mean(0)
    return np.linalg.eigh(centred.T @ centred)[1][:, -NUM_COMPONENTS:].astype(np.float32)


def _grids(
    pixels: Pixels, rows: Int[np.ndarray, " k"], components: np.ndarray | None = None
) -> Float32[np.ndarray, "k dim"]:
    """Return the mean grey level of each cell of a grid, or their projection on `components`."""
    _, height, width, channels = pixels.shape
    left = _cell_means(height).T
    right = _cell_means(width).repeat(channels, 0) / channels  # averages the channels, too
    parts = []
    for batch in _batches(pixels, rows):
        lines = batch.reshape(len(batch), height, -1).astype(np.float32)
        grids = (left @ (lines @ right)).reshape(len(batch), -1)
        parts.append(grids if components is None else grids @ components)
    return np.concatenate(parts)


def _cell_means(size: int) -> Float32[np.ndarray, "size cell"]:
    """Return the matrix that averages `size` values in up to `GRID_SIDE` cells."""
    side = min(size, GRID_SIDE)
    cells = np.arange(size) * side // size
    matrix = (cells[:, None] == np.arange(side)).astype(np.float32)
    return matrix / matrix.sum(0)


def _batches(pixels: Pixels, rows: Int[np.ndarray, " k"]) -> Iterator[Pixels]:
    step = max(1, BATCH_BYTES // (4 * int(np.prod(pixels.shape[1:]))))
    for start in range(0, len(rows), step):
        yield pixels[rows[start : start + step]]
