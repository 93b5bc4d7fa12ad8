"""What the columns of a row say about its image, and which columns and values are not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from pinxit.console import pluralize
from pinxit.data.captions import (
    caption_columns,
    list_number_columns,
    parse_captions,
    separate_first,
)
from pinxit.data.groups import group_columns, parse_group
from pinxit.data.imagefolder import descriptions
from pinxit.data.imagefolder.split_words import read_split_name
from pinxit.data.keywords import has_keyword_type, keyword_columns, parse_keywords
from pinxit.data.record import Note

LABEL_COLUMNS = ("label", "labels", "class", "category")  # of names or of numbers
NAME_COLUMNS = ("label_name", "class_name")  # of the name of a label that is a number
SPLIT_COLUMNS = (*descriptions.SPLIT_COLUMNS, "splits")
MAX_NAMES = 12  # that a note lists


class RowFields(TypedDict):
    """Fields of a `Record` that a row gives."""

    label: str | None
    label_index: int | None
    captions: dict[str, str]
    more_captions: dict[str, tuple[str, ...]]
    keywords: dict[str, tuple[str, ...]]
    split: str | None
    group: str | None


class RowReader:
    """Reads rows, and counts what of them is not used."""

    def __init__(self, group_by: str, label_columns: Sequence[str] = ()) -> None:
        self.group_by = group_by
        self.class_names: Sequence[str] = ()  # of the labels 0, 1, ...
        self.label_columns = (*label_columns, *LABEL_COLUMNS)
        self.unused: dict[str, None] = {}  # columns, in order
        self.unused_values: Counter[str] = Counter()  # rows by reason
        self.unknown_splits: Counter[str] = Counter()

    def set_class_column(self, column: str, names: Sequence[str]) -> None:
        """Set the column that is preferred as label, "" for the usual ones, and its classes."""
        self.label_columns = (column, *LABEL_COLUMNS) if column else LABEL_COLUMNS
        self.class_names = names

    def select_columns(self, columns: Iterable[str]) -> list[str]:
        """Return those of the columns that are used, and remember the others."""
        columns = list(columns)
        captions = [name for names in caption_columns(columns).values() for name in names]
        keywords = [name for names in keyword_columns(columns).values() for name in names]
        used = {*captions, *keywords, *group_columns(self.group_by), *NAME_COLUMNS}
        for alternatives in (self.label_columns, SPLIT_COLUMNS, group_columns(self.group_by)):
            present = [name for name in alternatives if name in columns]
            used -= set(present[1:])
            used |= set(present[:1])
        self.unused |= dict.fromkeys(name for name in columns if name not in used)
        return [name for name in columns if name in used]

    def read(self, row: Mapping[str, Any]) -> RowFields:
        """Return what a row says about its image."""
        label, label_index = self._read_label(row)
        self._check_texts(row)
        captions, more_captions = separate_first(parse_captions(row))
        return RowFields(
            label=label,
            label_index=label_index,
            captions=captions,
            more_captions=more_captions,
            keywords=parse_keywords(row),
            split=self.read_split(row),
            group=parse_group(row, self.group_by),
        )

    def _read_label(self, row: Mapping[str, Any]) -> tuple[str | None, int | None]:
        """Return the name and the number of a row's label; None if unknown."""
        column = next((c for c in self.label_columns if row.get(c) is not None), "")
        value = row.get(column)
        name = next((str(row[c]) for c in NAME_COLUMNS if row.get(c) not in (None, "")), None)
        value = self._take_single(column, value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # an empty cell makes a column of numbers one of floats
        if isinstance(value, int):
            has_name = name is None and 0 <= value < len(self.class_names)
            return (self.class_names[value] if has_name else name), int(value)
        if value is None or value != value or not str(value).strip():  # NaN
            return name, None
        return name or str(value).strip(), None

    def _take_single(self, column: str, value: Any) -> Any:
        """Return a value, or the only one of a list; None for several, which are counted."""
        if not isinstance(value, list | tuple | dict):
            return value
        if isinstance(value, list | tuple) and len(value) == 1:
            return self._take_single(column, value[0])
        self.unused_values[f"`{column}` has several values instead of one"] += 1
        return None

    def read_split(self, row: Mapping[str, Any]) -> str | None:
        """Return the split that a row names, or None; counts words that name none."""
        column = next((c for c in SPLIT_COLUMNS if row.get(c) is not None), "")
        value = self._take_single(column, row.get(column))
        text = "" if value is None or value != value else str(value).strip()
        word = read_split_name(text)
        if text and not word.is_plain:
            self.unknown_splits[text] += 1
        return word.split if word.is_plain else None

    def _check_texts(self, row: Mapping[str, Any]) -> None:
        checks = ((caption_columns(row), _is_text), (keyword_columns(row), has_keyword_type))
        for by_language, is_text in checks:
            numbers = list_number_columns(row, by_language)
            self.unused |= dict.fromkeys(sorted(numbers))
            for column in (name for names in by_language.values() for name in names):
                if column not in numbers and not is_text(row[column]):
                    self.unused_values[f"`{column}` has values that are not text"] += 1

    def list_notes(self) -> Iterator[Note]:
        """Yield a note on the columns that are not used, and one per kind of such values."""
        if self.unused:
            yield Note(f"columns not used: {_join(list(self.unused))}")
        for reason, count in self.unused_values.items():
            yield Note(f"{pluralize(count, 'row')}: {reason}", is_loss=True)
        if self.unknown_splits:
            number = pluralize(self.unknown_splits.total(), "row")
            words = _join([f"'{word}'" for word in self.unknown_splits])
            text = f"{number}: the split is none of train, validation and test: {words}"
            yield Note(text, is_loss=True)


def _is_text(value: Any) -> bool:
    """Return whether a value is a text, a number, none of them, or a list of such values."""
    if isinstance(value, list | tuple):
        return all(map(_is_text, value))
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def _join(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + rest
