"""Captions as sources store them: columns `caption`, `caption_en`, `text_fr`, or `.txt` files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.console import pluralize
from pinxit.data.language_codes import is_language
from pinxit.data.unicode_forms import normalize_text
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.data.images import Images
    from pinxit.data.records import Record

UNDETERMINED = "und"  # BCP 47 code for captions whose language is not stated

# at the end of a column's name; the group is the language
LANGUAGE_SUFFIX = r"(?:_([a-z]{2,3}(?:[-_](?:[a-z]{2}|hans|hant|latn|cyrl))?))?"

# words for a caption in names of columns, the preferred one first
_WORDS = ("caption", "text", "prompt", "description", "sentence")
# Indonesian, Norwegian and Southern Ndebele, or an identifier and a number
_NUMBER_SUFFIXES = ("id", "no", "nr")
_NUMBER = re.compile(r"\s*[-+]?\d+(?:\.\d*)?\s*")
_COLUMN = re.compile(
    rf"({'|'.join(_WORDS)})s?(?:_?(\d+))?{LANGUAGE_SUFFIX}",
    re.IGNORECASE,
)


class NoTexts(UsageError):
    """A source without the texts that load options name; `fallback` are options that it has."""

    def __init__(self, text: str, **fallback: str | None) -> None:
        super().__init__(text)
        self.fallback = fallback


def caption_columns(columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the caption columns of each language: one, or numbered ones of one word.

    `caption` is preferred to `text`, `text` to `prompt`, `description` and `sentence`.

    >>> caption_columns(["caption_1", "caption_2", "text"])
    {'und': ('caption_1', 'caption_2')}
    """
    by_language: dict[str, dict[int, list[tuple[int, str]]]] = {}
    for column in sorted(columns):
        match = _COLUMN.fullmatch(column)
        if match and is_language(match[3] or UNDETERMINED):
            language = normalize_language(match[3] or UNDETERMINED)
            words = by_language.setdefault(language, {})
            rank = _WORDS.index(match[1].lower())
            words.setdefault(rank, []).append((int(match[2] or 0), column))
    return {
        language: tuple(column for _, column in sorted(words[min(words)]))
        for language, words in by_language.items()
    }


def normalize_language(code: str) -> str:
    """Return a BCP 47 code in its usual case.

    >>> normalize_language("PT_br")
    'pt-BR'
    """
    first, *rest = code.replace("_", "-").split("-")
    parts = [part.upper() if len(part) == 2 else part.capitalize() for part in rest]
    return "-".join([first.lower(), *parts])


def parse_captions(row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return all captions of a row by language, in order; a list has several.

    >>> parse_captions({"caption_en": ["a cat", "an animal"], "caption_fr": "un chat"})
    {'en': ('a cat', 'an animal'), 'fr': ('un chat',)}
    """
    captions = {
        language: tuple(
            text
            for column in columns
            if not is_number_of(row[column], language)
            for text in _texts(row[column])
        )
        for language, columns in caption_columns(row).items()
    }
    return {language: texts for language, texts in captions.items() if texts}


def is_number_of(value: object, language: str) -> bool:
    """Return whether a column holds numbers and its suffix means that, as `id`, not a language."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return bool(value) and all(is_number_of(item, language) for item in value)
    if language not in _NUMBER_SUFFIXES or isinstance(value, bool):
        return False
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and value == value  # not NaN, an empty cell


def list_number_columns(
    row: Mapping[str, Any], by_language: Mapping[str, Sequence[str]]
) -> set[str]:
    """Return those columns of languages that hold numbers in a row."""
    return {
        column
        for language, columns in by_language.items()
        for column in columns
        if is_number_of(row[column], language)
    }


def _texts(value: object) -> tuple[str, ...]:
    """Return the non-empty texts of a value: of a text, of a number, or of a list of them."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(text for item in value for text in _texts(item))
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return ()  # a number that is not equal to itself is NaN, an empty cell
    text = normalize_text(str(value))
    return (text,) if text else ()


def parse_caption_lines(text: str) -> tuple[str, ...]:
    """Return the captions of a text file: one on each line that is not blank."""
    lines = re.split(r"\r\n|\r|\n", text)  # splitlines also splits at U+2028, a space in a caption
    return tuple(caption for line in lines if (caption := normalize_text(line)))


def merge_captions(
    *sources: Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """Return the captions of several sources of one image, by language; equal texts once."""
    merged: dict[str, dict[str, None]] = {}
    for source in sources:
        for language, texts in source.items():
            merged.setdefault(language, {}).update(dict.fromkeys(texts))
    return {language: tuple(texts) for language, texts in merged.items() if texts}


def separate_first(
    captions: Mapping[str, Sequence[str]],
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the first caption of each language, and the others: the fields of a `Record`."""
    first = {language: texts[0] for language, texts in captions.items() if texts}
    more = {language: tuple(texts[1:]) for language, texts in captions.items() if texts[1:]}
    return first, more


def parse_caption_filename(name: str) -> tuple[str, str]:
    """Return the stem and the language of a caption file: `cat.fr.txt` is `cat` in French."""
    stem = name.removesuffix(".txt")
    match = re.fullmatch(r"(.+)\.([a-z]{2,3})", stem)
    if match and is_language(match[2]):
        return match[1], match[2]
    return stem, UNDETERMINED


def note_several_captions(records: Sequence[Record]) -> list[str]:
    """Return a note for the user if an image has several captions in a language; else []."""
    counts = [
        1 + len(record.more_captions.get(language, ()))
        for record in records
        for language in record.captions
    ]
    if max(counts, default=0) < 2:
        return []
    number = pluralize(sum(bool(record.captions) for record in records), "image")
    return [f"{sum(counts):,} captions of {number}, up to {max(counts)} of one image"]


def all_captions(images: Images, language: str) -> list[tuple[str, ...]]:
    """Return all captions of each image in a language, the first one first; () for none."""
    first = images.captions.get(language, [""] * len(images))
    more = images.more_captions.get(language, [()] * len(images))
    return [(text, *others) if text else () for text, others in zip(first, more, strict=True)]


def describe_captions(images: Images) -> str:
    """Return `37 of 40 images, en 37, fr 20`; "" if there are none. Counts all captions."""
    counts = {
        language: sum(map(len, all_captions(images, language))) for language in images.captions
    }
    if not any(counts.values()):
        return ""
    columns = images.captions.values()
    num_captioned = sum(any(texts) for texts in zip(*columns, strict=True))
    languages = ", ".join(f"{language} {count:,}" for language, count in counts.items())
    return f"{num_captioned:,} of {pluralize(len(images), 'image')}, {languages}"


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
