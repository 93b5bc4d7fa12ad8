"""Scores of streamed images: written batch by batch, with the images of the lowest ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.models.protocols import CanScore
from pinxit.sampling.grids import score_sheet
from pinxit.sampling.scores import score_images, score_rows, scores_per_batch
from pinxit.sampling.stream_rows import StreamRows

NUM_LOWEST = 48  # images that are kept for the sheet


class StreamScores:
    """Scores images as they come, and keeps those of lowest likelihood."""

    def __init__(self, model: CanScore, num_samples: int, seed: int) -> None:
        self.model, self.num_samples, self.seed = model, num_samples, seed
        self.count, self.total = 0, 0.0
        self.lowest: Images | None = None
        self.lowest_scores = np.empty(0)

    @property
    def mean(self) -> float:
        """Mean log-likelihood in nats."""
        return self.total / max(1, self.count)

    def rows(self, images: ImageRows | StreamRows) -> Iterator[dict[str, Any]]:
        """Yield a row per image as `score_rows` does, but those of a batch after another."""
        for batch in images.batches(scores_per_batch(self.num_samples)):
            scores = score_images(self.model, batch, self.num_samples, self.seed)
            self.count += len(scores)
            self.total += float(scores.sum())
            self._keep_lowest(batch, scores)
            yield from score_rows(self.model, batch, scores)

    def lowest_sheet(self) -> bytes:
        """Return a PNG of the images of lowest score."""
        assert self.lowest is not None, "a stream has images"
        return score_sheet(self.lowest, self.lowest_scores, NUM_LOWEST)

    def _keep_lowest(self, batch: Images, scores: np.ndarray) -> None:
        chosen = np.argsort(scores, kind="stable")[:NUM_LOWEST]
        images, values = batch.take(chosen), scores[chosen]
        if self.lowest is not None:
            images = _join(self.lowest, images)
            values = np.concatenate([self.lowest_scores, values])
        order = np.argsort(values, kind="stable")[:NUM_LOWEST]
        self.lowest, self.lowest_scores = images.take(order), values[order]


def _join(first: Images, second: Images) -> Images:
    """Return the images of both, with what the sheet shows of them."""
    labels = None
    if first.labels is not None and second.labels is not None:
        labels = np.concatenate([first.labels, second.labels])
    return Images(
        np.concatenate([first.pixels, second.pixels]),
        names=[*first.names, *second.names],
        labels=labels,
        label_names=first.label_names,
    )
