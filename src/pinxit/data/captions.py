"""Captions as sources store them: columns `caption`, `caption_en`, `text_fr`, or `.txt` files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pinxit.data.images import Images

UNDETERMINED = "und"  # BCP 47 code for captions whose language is not stated

_COLUMN = re.compile(r"(caption|text)(?:_([a-z]{2,3}))?")


def caption_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return the caption column of each language; `caption` is preferred to `text`.

    >>> caption_columns(["caption_en", "caption_fr", "label"])
    {'en': 'caption_en', 'fr': 'caption_fr'}
    """
    by_language: dict[str, str] = {}
    for column in sorted(columns):  # "caption" sorts before "text"
        if match := _COLUMN.fullmatch(column):
            by_language.setdefault(match[2] or UNDETERMINED, column)
    return by_language


def parse_captions(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the captions of a row by language; the first if a language has several."""
    captions = {}
    for language, column in caption_columns(row).items():
        value = row[column]
        if isinstance(value, list | tuple):
            value = value[0] if value else None
        if isinstance(value, str) and value.strip():
            captions[language] = " ".join(value.split())
    return captions


def parse_caption_filename(name: str) -> tuple[str, str]:
    """Return the stem and the language of a caption file: `cat.fr.txt` is `cat` in French."""
    stem = name.removesuffix(".txt")
    if match := re.fullmatch(r"(.+)\.([a-z]{2,3})", stem):
        return match[1], match[2]
    return stem, UNDETERMINED


def captions_round_robin(images: Images, languages: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return one caption per image, taking turns between its languages.

    Returns the rows of the images that have a caption, int64 `[k]`, and the k captions.
    """
    rows, texts = [], []
    for i in range(len(images)):
        available = [name for name in languages if name in images.captions]
        available = [name for name in available if images.captions[name][i]]
        if available:
            rows.append(i)
            texts.append(images.captions[available[i % len(available)]][i])
    return np.array(rows, int), texts
