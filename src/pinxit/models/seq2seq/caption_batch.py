"""Captions of a batch: sample one per image, and drop some for classifier-free guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from pinxit.errors import UsageError


class CaptionBatch(NamedTuple):
    """A text for each image, None if it has none, and its language."""

    texts: list[str | None]
    languages: list[str]


def sample_captions(
    captions: Mapping[str, Sequence[str]], languages: Sequence[str], n: int
) -> tuple[CaptionBatch, CaptionBatch]:
    """Sample a caption for each of `n` images, and one of the same image in another language.

    `captions` has one text per image and language, "" for none. Raises UsageError if it is empty.
    """
    if not captions:
        raise UsageError("these images have no captions to learn from.")
    first, second = CaptionBatch([], []), CaptionBatch([], [])
    for i, (u1, u2) in enumerate(torch.rand(n, 2).tolist()):
        available = [name for name in captions if name in languages and captions[name][i]]
        language = _pick(available, u1)
        other = _pick([name for name in available if name != language], u2)
        for batch, name in ((first, language), (second, other)):
            batch.texts.append(None if name is None else captions[name][i])
            batch.languages.append(name or languages[0])
    return first, second


def _pick(names: list[str], u: float) -> str | None:
    return names[int(u * len(names))] if names else None


def drop_captions(texts: Sequence[str | None], probability: float) -> list[str | None]:
    """Replace each text by None with the given probability (Ho & Salimans 2022, algorithm 1)."""
    drop = (torch.rand(len(texts)) < probability).tolist()
    return [None if dropped else text for text, dropped in zip(texts, drop, strict=True)]
