"""Encodings of training images by a frozen part of a model, each computed once.

Of augmented images there are several views: an image is another one in each epoch until all have
been seen. View v depends on (seed, v) only, and images are encoded in fixed blocks, so that a
resumed training finds the same encodings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.models.protocols import HasFrozenEncoder
from pinxit.nn.rng import mix_seed
from pinxit.training.augmentation import AUGMENT_PROBABILITY, apply_amounts, sample_amounts

if TYPE_CHECKING:
    from pinxit.training.settings import TrainingSettings

BLOCK = 16  # images encoded at once
NUM_ENCODINGS = 24_000  # of all views together, but each image has from 4 to 32 views
MIN_VIEWS, MAX_VIEWS = 4, 32
MAX_BYTES = 512 * 2**20

Encode = Callable[[Tensor], Tensor]


class Drawn(NamedTuple):
    """Which images a batch holds: indices into the training rows, and how often each was seen."""

    indices: Int64[np.ndarray, " batch"]
    epochs: Int64[np.ndarray, " batch"]


class EncodingCache:
    """Encodings `[view * image, ...]` of the training images, filled where they are asked for."""

    def __init__(
        self,
        encode: Encode,
        images: Images,
        rows: np.ndarray,
        kinds: Sequence[str],
        seed: int,
        device: torch.device,
    ) -> None:
        self.encode_pixels, self.images, self.rows = encode, images, rows
        self.kinds, self.seed, self.device = kinds, seed, device
        example = encode(images.batch(rows[:1]).pixels.to(device))
        fitting = MAX_BYTES // (len(rows) * example.numel() * example.element_size())
        self.num_views = min(count_views(len(rows)) if kinds else 1, fitting)  # 0: too large
        self.blocks_per_view = -(-len(rows) // BLOCK)
        self.is_filled = np.zeros(self.num_views * self.blocks_per_view, bool)
        shape = (self.num_views * len(rows), *example.shape[1:])
        self.encodings = torch.empty(shape, dtype=example.dtype, device=device)
        views = [self._sample_amounts(view) for view in range(self.num_views)]
        self.amounts = torch.cat(views) if kinds and views else None

    def encode(self, batch: Batch, drawn: Drawn) -> Batch:
        """Return the batch with its encodings, and how much each image was changed for them."""
        views = drawn.epochs % self.num_views
        for block in np.unique(views * self.blocks_per_view + drawn.indices // BLOCK):
            if not self.is_filled[block]:
                self._fill(*divmod(int(block), self.blocks_per_view))
                self.is_filled[block] = True
        slots = torch.from_numpy(views * len(self.rows) + drawn.indices).to(self.device)
        amounts = None if self.amounts is None else self.amounts[slots]
        return dataclasses.replace(batch, encoding=self.encodings[slots], augmentation=amounts)

    def _fill(self, view: int, block: int) -> None:
        rows = self.rows[block * BLOCK : (block + 1) * BLOCK]
        pixels = self.images.batch(rows).pixels.to(self.device)
        start = view * len(self.rows) + block * BLOCK
        slots = slice(start, start + len(rows))
        if self.amounts is not None:
            pixels = apply_amounts(pixels, self.amounts[slots])
        self.encodings[slots] = self.encode_pixels(pixels)

    def _sample_amounts(self, view: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix_seed(self.seed, view))
            example = self.images.batch(self.rows[:1]).pixels
            amounts = sample_amounts(len(self.rows), self.kinds, AUGMENT_PROBABILITY, example)
        return amounts.to(self.device)


def count_views(num_images: int) -> int:
    """Return how many views of each image are made: many of few images."""
    return min(max(NUM_ENCODINGS // num_images, MIN_VIEWS), MAX_VIEWS)


def create_cache(
    model: object,
    images: Images,
    rows: np.ndarray,
    settings: TrainingSettings,
    device: torch.device,
) -> EncodingCache | None:
    """Return the cache of a frozen encoder; None if there is none, or it would be too large."""
    if not isinstance(model, HasFrozenEncoder) or model.frozen_encoder is None:
        return None
    if images.before is not None or images.stream is not None or not len(rows):
        return None  # images before their edits are encoded too; those of a stream are too many
    if settings.augment_kinds and settings.augment_until < 1:
        return None  # cached encodings are of images that are changed until the end
    cache = EncodingCache(
        model.frozen_encoder, images, rows, settings.augment_kinds, settings.seed, device
    )
    return cache if cache.num_views else None
