"""Captions of a batch: sample one per image, and drop some for classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from pinxit.data.batch import Batch
from pinxit.errors import UsageError


class CaptionBatch(NamedTuple):
    """A text for each image, None if it has none, and its language."""

    texts: list[str | None]
    languages: list[str]


def sample_captions(batch: Batch, languages: Sequence[str]) -> tuple[CaptionBatch, CaptionBatch]:
    """Sample a caption for each image, and one of the same image in another language.

    Uniform over an image's languages, then over its captions in that language. Raises UsageError if
    no image has a caption.
    """
    captions = batch.captions
    if not captions:
        raise UsageError("these images have no captions to learn from.")
    first, second = CaptionBatch([], []), CaptionBatch([], [])
    for i, (u1, u2) in enumerate(torch.rand(len(batch), 2).tolist()):
        available = [name for name in captions if name in languages and captions[name][i]]
        language, u1 = _pick(available, u1)
        other, u2 = _pick([name for name in available if name != language], u2)
        for sampled, name, u in ((first, language, u1), (second, other, u2)):
            sampled.texts.append(None if name is None else _pick(_captions(batch, name, i), u)[0])
            sampled.languages.append(name or languages[0])
    return first, second


def _captions(batch: Batch, language: str, i: int) -> list[str]:
    more = batch.more_captions.get(language)
    return [batch.captions[language][i], *(more[i] if more else ())]


def _pick(items: list[str], u: float) -> tuple[str | None, float]:
    """Pick an item with u in [0, 1); the remainder is uniform again, for the next choice."""
    if not items:
        return None, u
    index = int(u * len(items))
    return items[index], u * len(items) - index


def drop_captions(texts: Sequence[str | None], probability: float) -> list[str | None]:
    """Replace each text by None with the given probability (Ho & Salimans 2022, algorithm 1)."""
    drop = (torch.rand(len(texts)) < probability).tolist()
    return [None if dropped else text for text, dropped in zip(texts, drop, strict=True)]
