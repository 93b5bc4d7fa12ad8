"""The captions of a batch, one text and language per image."""

from __future__ import annotations

from typing import NamedTuple


class Said(NamedTuple):
    """A text for each image, None where it has none, and its language."""

    texts: list[str | None]
    languages: list[str]


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
