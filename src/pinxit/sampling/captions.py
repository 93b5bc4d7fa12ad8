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
from pinxit.sampling.stream_rows import StreamRows, all_rows

CAPTION_BATCH = 64  # images; a multiple of what a model decodes at a time


def select_captioned(rows: ImageRows, split: str, num_images: int | None) -> ImageRows | StreamRows:
    """Return `num_images` of a split's images, evenly spaced; None: all.

    Of a stream they are those of its sample, if it has so many, else of all its images.
    """
    if num_images is not None and num_images <= len(rows):
        return rows.evenly_spaced(num_images)
    return all_rows(rows, split).evenly_spaced(num_images)


def caption_images(
    model: CanCaption,
    images: Images | ImageRows | StreamRows,
    params: GenerationParams | None = None,
    **options: Any,
) -> Iterator[list[ScoredText]]:
    """Yield the captions of each image, the best first, as `model.caption` makes them.

    Those of image i depend on the image and, where they are sampled, on (seed, start + i) only.
    """
    for _, captions in caption_by_name(model, images, params, **options):
        yield captions


def caption_by_name(
    model: CanCaption,
    images: Images | ImageRows | StreamRows,
    params: GenerationParams | None = None,
    **options: Any,
) -> Iterator[tuple[str, list[ScoredText]]]:
    """Yield the name of each image, or its number if it has none, with its captions."""
    params, done = params or GenerationParams(), 0
    rows = ImageRows.of(images) if isinstance(images, Images) else images
    for batch in rows.batches(CAPTION_BATCH):
        own = _params_of_batch(params, done, len(batch))
        captions = model.caption(match_labels(model, batch), own, **options)
        names = batch.names if len(batch.names) else map(str, range(done, done + len(batch)))
        yield from zip(names, captions, strict=True)
        done += len(batch)


def _params_of_batch(params: GenerationParams, first: int, count: int) -> GenerationParams:
    """Return the parameters of the images from `first` on, which have seeds of their own."""
    if isinstance(params.seed, int):
        return dataclasses.replace(params, start=params.start + first)
    return dataclasses.replace(params, seed=params.seed[first : first + count])
