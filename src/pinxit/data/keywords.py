"""Keywords as sources store them: columns `keywords`, `keywords_en`, `tags_fr`.

They are further texts of images that have captions, for models that generate images from text.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.console import pluralize
from pinxit.data.captions import (
    LANGUAGE_SUFFIX,
    UNDETERMINED,
    is_number_of,
    merge_captions,
    normalize_language,
)
from pinxit.data.language_codes import is_language
from pinxit.data.unicode_forms import normalize_text

if TYPE_CHECKING:
    from pinxit.data.images import Images
    from pinxit.data.records import Record

SEPARATORS = ("|", ";", ",")  # of keywords in one text; the first that occurs is the one
JOINER = ", "  # between the keywords of a text that a model reads

_WORDS = ("keyword", "tag")
_COLUMN = re.compile(rf"({'|'.join(_WORDS)})s?(?:_?(\d+))?{LANGUAGE_SUFFIX}", re.IGNORECASE)


def keyword_columns(columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the keyword columns of each language: `keywords` before `tags`, then by number.

    >>> keyword_columns(["tags", "keywords_2", "keywords_1", "tags_fr"])
    {'und': ('keywords_1', 'keywords_2', 'tags'), 'fr': ('tags_fr',)}
    """
    by_language: dict[str, list[tuple[int, int, str]]] = {}
    for column in columns:
        match = _COLUMN.fullmatch(column)
        if match and is_language(match[3] or UNDETERMINED):
            language = normalize_language(match[3] or UNDETERMINED)
            order = _WORDS.index(match[1].lower()), int(match[2] or 0)
            by_language.setdefault(language, []).append((*order, column))
    return {
        language: tuple(column for *_, column in sorted(found))
        for language, found in by_language.items()
    }


def parse_keywords(row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the keywords of a row by language, in order; equal ones once.

    A column has a list of texts, or one text with a separator.

    >>> parse_keywords({"tags_en": ["water", "animal"], "tags_fr": "eau; animal, sauvage"})
    {'en': ('water', 'animal'), 'fr': ('eau', 'animal, sauvage')}
    """
    columns = keyword_columns(row)
    by_column = (
        {language: _keywords_of(row[name])}
        for language, names in columns.items()
        for name in names
        if not is_number_of(row[name], language)
    )
    return merge_captions(*by_column)


def has_keyword_type(value: Any) -> bool:
    """Return whether a value is a text, an empty cell, or a list of these. Numbers are ids."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return all(map(has_keyword_type, value))
    return value is None or isinstance(value, str) or value != value  # NaN: an empty cell


def _keywords_of(value: Any) -> list[str]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str):
        separator = next((mark for mark in SEPARATORS if mark in value), None)
        return _normalize(value.split(separator) if separator else [value])
    return _normalize(_flatten(value))


def _flatten(value: Any) -> list[str]:
    """Return the texts of a list of texts, or of lists of them."""
    if isinstance(value, list | tuple):
        return [text for item in value for text in _flatten(item)]
    return [value] if isinstance(value, str) else []


def _normalize(texts: Iterable[str]) -> list[str]:
    return [text for text in map(normalize_text, texts) if text]


def keywords_by_language(records: Sequence[Record]) -> dict[str, Sequence[tuple[str, ...]]]:
    """Return the keywords of each record, for languages that have any.

    Keywords of an undetermined language are in that of the captions, if these have only one, and
    the other way round. A keyword that is a caption of its image is left out.
    """
    names = _match_languages(
        {language for record in records for language in record.captions},
        {language for record in records for language in record.keywords},
    )
    columns = [_drop_captions(_rename(record.keywords, names), record) for record in records]
    languages = sorted({language for column in columns for language in column})
    return {name: [column.get(name, ()) for column in columns] for name in languages}


def _match_languages(captions: set[str], keywords: set[str]) -> dict[str, str]:
    """Return another name for the language of keywords, where it is known from the captions."""
    if len(captions) != 1:
        return {}
    (language,) = captions
    if language == UNDETERMINED and len(keywords) == 1:
        return dict.fromkeys(keywords, UNDETERMINED)
    return {UNDETERMINED: language}


def _rename(
    keywords: Mapping[str, tuple[str, ...]], names: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    return merge_captions(*({names.get(name, name): texts} for name, texts in keywords.items()))


def _drop_captions(
    keywords: Mapping[str, tuple[str, ...]], record: Record
) -> dict[str, tuple[str, ...]]:
    others = {
        language: tuple(text for text in texts if text not in _captions_of(record, language))
        for language, texts in keywords.items()
    }
    return {language: texts for language, texts in others.items() if texts}


def _captions_of(record: Record, language: str) -> set[str]:
    return {record.captions.get(language, ""), *record.more_captions.get(language, ())}


def caption_by_keywords(images: Images) -> Images:
    """Return images of keywords, and of no captions or labels, with keywords as captions.

    A note says so, or that keywords are not used.
    """
    if not images.keywords or images.captions:
        return images
    if images.label_names:
        notes = (*images.notes, "keywords are not used: the images have labels and no captions")
        return dataclasses.replace(images, notes=notes)
    captions = {
        language: [JOINER.join(texts) for texts in column]
        for language, column in images.keywords.items()
    }
    notes = (*images.notes, "no captions: the caption of an image is the list of its keywords")
    return dataclasses.replace(images, captions=captions, notes=notes)


def describe_keywords(images: Images) -> str:
    """Return `37 of 40 images, en 37, fr 20`, which counts images; "" if there are no keywords."""
    if not images.keywords:
        return ""
    num_images = sum(map(any, zip(*images.keywords.values(), strict=True)))
    counts = ", ".join(f"{language} {n:,}" for language, n in count_keywords(images).items())
    return f"{num_images:,} of {pluralize(len(images), 'image')}, {counts}"


def count_keywords(images: Images) -> dict[str, int]:
    """Return the number of images that have keywords, by language."""
    return {language: sum(map(bool, column)) for language, column in images.keywords.items()}
