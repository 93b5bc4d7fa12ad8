"""Captions as sources write them: `caption`, `caption_en`, `text_fr`, or a `.txt` file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pinxit.data.images import Images

UNDETERMINED = "und"  # the language of a caption that names none, as BCP 47 has it

_COLUMN = re.compile(r"(caption|text)(?:_([a-z]{2,3}))?")


def caption_columns(columns: Iterable[str]) -> dict[str, str]:
    """The column of each language's caption; `caption` is preferred to `text`.

    >>> caption_columns(["caption_en", "caption_fr", "label"])
    {'en': 'caption_en', 'fr': 'caption_fr'}
    """
    found: dict[str, str] = {}
    for column in sorted(columns):  # "caption" comes before "text"
        if match := _COLUMN.fullmatch(column):
            found.setdefault(match[2] or UNDETERMINED, column)
    return found


def parse_captions(row: Mapping[str, Any]) -> dict[str, str]:
    """The captions of a record by language; of several in one language, the first."""
    captions = {}
    for language, column in caption_columns(row).items():
        value = row[column]
        if isinstance(value, list | tuple):
            value = value[0] if value else None
        if isinstance(value, str) and value.strip():
            captions[language] = " ".join(value.split())
    return captions


def parse_caption_filename(name: str) -> tuple[str, str]:
    """The stem and language of a caption file: `cat.fr.txt` is the French caption of `cat`."""
    stem = name.removesuffix(".txt")
    if match := re.fullmatch(r"(.+)\.([a-z]{2,3})", stem):
        return match[1], match[2]
    return stem, UNDETERMINED


def captions_round_robin(images: Images, languages: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """For each image its caption in one of the languages, in turn; those without are left out.

    Returns the images' rows and their captions.
    """
    rows, texts = [], []
    for i in range(len(images)):
        has = [name for name in languages if images.captions.get(name, [""] * (i + 1))[i]]
        if has:
            rows.append(i)
            texts.append(images.captions[has[i % len(has)]][i])
    return np.array(rows, int), texts
