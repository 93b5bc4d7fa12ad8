"""Captions of many images, a batch at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import CanCaption
from pinxit.models.results import ScoredText
from pinxit.sampling.inputs import match_labels

CAPTION_BATCH = 64  # images; a multiple of what a model decodes at a time


def caption_images(
    model: CanCaption,
    images: Images | ImageRows,
    params: GenerationParams | None = None,
    **options: Any,
) -> Iterator[list[ScoredText]]:
    """Yield the captions of each image, the best first, as `model.caption` makes them.

    Those of image i depend on the image and, where they are sampled, on (seed, start + i) only.
    """
    params, done = params or GenerationParams(), 0
    for batch in ImageRows.of(images).batches(CAPTION_BATCH):
        own = dataclasses.replace(params, start=params.start + done)
        yield from model.caption(match_labels(model, batch), own, **options)
        done += len(batch)
