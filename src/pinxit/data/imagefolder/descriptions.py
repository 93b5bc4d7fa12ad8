"""What metadata and caption files say about each image of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinxit.console import pluralize
from pinxit.data.captions import (
    caption_columns,
    list_number_columns,
    merge_captions,
    parse_caption_lines,
)
from pinxit.data.captions import parse_captions as parse_row_captions
from pinxit.data.formats import SUFFIXES
from pinxit.data.groups import group_columns, parse_group
from pinxit.data.imagefolder.image_index import ImageIndex, Match, split_suffix
from pinxit.data.imagefolder.split_words import read_split_name
from pinxit.data.imagefolder.tables import (
    KEY_COLUMNS,
    Row,
    UnreadableTable,
    read_table,
    read_text,
)
from pinxit.data.keywords import has_keyword_type, keyword_columns, parse_keywords
from pinxit.data.records import Note, UsedFile
from pinxit.data.skipped import SkippedFile

LABEL_COLUMNS = ("label_name", "class_name", "label", "class", "category")
SPLIT_COLUMNS = ("split", "subset", "partition")
# text files whose names begin like this are about the folder
ABOUT = ("readme", "license", "licence", "labels", "classes", "notes", "requirements", "changelog")

_MAX_KEY_SAMPLE = 1_000  # records that are looked up to find the column with the images
_MAX_COLUMNS = 12  # that a note lists

Item = SkippedFile | UsedFile | Note


@dataclass
class Description:
    """What is known about one image; a conflicting value of a later record is skipped."""

    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    keywords: dict[str, tuple[str, ...]] = field(default_factory=dict)
    label: str | None = None
    split: str | None = None
    group: str | None = None


class Descriptions:
    """Descriptions by image. Reading a file yields what of it is used, and what is not."""

    def __init__(self, index: ImageIndex, group_by: str) -> None:
        self.index = index
        self.group_by = group_by
        self.by_image: dict[str, Description] = {}
        self.unused_columns: dict[tuple[str, ...], list[str]] = {}  # files by columns
        self.by_case: list[str] = []  # names that differ from their images in case

    def _of(self, image: str) -> Description:
        return self.by_image.setdefault(image, Description())

    # -- metadata ------------------------------------------------------------------------------

    def read_metadata(self, root: Path, name: str) -> Iterator[Item]:
        """Read a file of metadata: each record describes the image that it names."""
        folder = name.rpartition("/")[0]
        try:
            rows = read_table(root, name, lambda value: self._is_image(value, folder))
            usable = [row for row in rows if isinstance(row, Row)]
            if not rows:
                raise UnreadableTable("a table without records")
            key = self._find_key(usable, folder) if usable else "file_name"
        except UnreadableTable as error:
            yield SkippedFile(name, str(error))
            return
        yield UsedFile(name, "metadata")
        unused: set[str] = set()
        for columns in {frozenset(row.values) for row in usable}:
            unused |= columns - {key} - self._columns_in_use(columns)
        for row in usable:
            unused |= list_number_columns(row.values, caption_columns(row.values))
            unused |= list_number_columns(row.values, keyword_columns(row.values))
        if unused:
            self.unused_columns.setdefault(tuple(sorted(unused)), []).append(name)
        for row in rows:
            if isinstance(row, SkippedFile):
                yield row
            else:
                yield from self._add_row(f"{name}, record {row.number}", row, key, folder)

    def _is_image(self, value: str, folder: str) -> bool:
        suffix = split_suffix(value.strip().strip('"'))[1].lower()
        return suffix in SUFFIXES and self.index.find(value.strip('"'), folder) is not None

    def _find_key(self, rows: Sequence[Row], folder: str) -> str:
        """Return the column that names most images. Raises UnreadableTable if there is none."""
        sample = rows[:_MAX_KEY_SAMPLE]
        columns = [column for column in KEY_COLUMNS if any(column in row.values for row in sample)]

        def count_images(column: str) -> int:
            values = (_key_of(row, column) for row in sample)
            return sum(
                bool(value) and self.index.find(value, folder) is not None for value in values
            )

        if columns:
            return max(columns, key=count_images)  # the first of equals
        names = ", ".join(dict.fromkeys(column for row in sample for column in row.values))
        raise UnreadableTable(f"no column `file_name` with the images' names; it has: {names}")

    def _columns_in_use(self, columns: frozenset[str]) -> set[str]:
        groups = (column for column in group_columns(self.group_by) if column in columns)
        return {
            *(name for names in caption_columns(columns).values() for name in names),
            *(name for names in keyword_columns(columns).values() for name in names),
            *(column for column in LABEL_COLUMNS[:3] if column in columns),
            *_first_present(LABEL_COLUMNS, columns),
            *_first_present(SPLIT_COLUMNS, columns),
            *list(groups)[:1],
        }

    def _add_row(self, name: str, row: Row, key: str, folder: str) -> Iterator[Item]:
        value = _key_of(row, key)
        if not value:
            yield SkippedFile(name, f"not a record with a {key}", "record")
            return
        match = self.index.find(value, folder)
        if match is None:
            reason = "in the metadata, but the image does not exist"
            yield SkippedFile(f"{name} ({value})", reason, "record")
            return
        self._count_case(match, value)
        captions, keywords = parse_row_captions(row.values), parse_keywords(row.values)
        yield from _skip_values(name, row.values)
        for image in match.images:
            description = self._of(image)
            description.captions = merge_captions(description.captions, captions)
            description.keywords = merge_captions(description.keywords, keywords)
            if description.group is None:
                description.group = parse_group(row.values, self.group_by)
            yield from self._set_label(name, image, row.values)
            yield from self._set_split(name, image, row.values)

    def _set_label(self, name: str, image: str, row: Mapping[str, Any]) -> Iterator[SkippedFile]:
        label = _first_text(row, LABEL_COLUMNS)
        description = self._of(image)
        if label and description.label not in (None, label):
            yield SkippedFile(f"{name} ({image})", "another record gives another label", "record")
        elif label:
            description.label = label

    def _set_split(self, name: str, image: str, row: Mapping[str, Any]) -> Iterator[SkippedFile]:
        text = _first_text(row, SPLIT_COLUMNS)
        word = read_split_name(text or "")
        description = self._of(image)
        if text and not word.is_plain:
            reason = f"its split '{text}' is none of train, validation and test"
            yield SkippedFile(f"{name} ({image})", reason, "record")
        elif text and description.split not in (None, word.split):
            yield SkippedFile(f"{name} ({image})", "another record gives another split", "record")
        elif text:
            description.split = word.split

    # -- caption files -------------------------------------------------------------------------

    def read_captions(self, root: Path, name: str) -> Iterator[Item]:
        """Read a text file beside an image: each line that is not blank is a caption."""
        match = self.index.find_captioned(name)
        if match is None:
            yield SkippedFile(name, _describe_text(name))
            return
        try:
            texts = parse_caption_lines(read_text(root / name))
        except UnicodeDecodeError:
            yield SkippedFile(name, "the caption is not UTF-8 text")
            return
        except OSError as error:
            yield SkippedFile(name, f"cannot be opened: {error.strerror}")
            return
        if not texts:
            yield SkippedFile(name, "a caption file without text")
            return
        yield UsedFile(name, "captions")
        self._count_case(match, name)
        for image in match.images:
            description = self._of(image)
            description.captions = merge_captions(description.captions, {match.language: texts})

    # -- notes ---------------------------------------------------------------------------------

    def _count_case(self, match: Match, name: str) -> None:
        if match.by_case:
            self.by_case.append(f"{name} of {match.images[0]}")

    def list_notes(self) -> Iterator[Note]:
        """Yield notes on columns that are not used, and on names that were found without case."""
        for columns, files in self.unused_columns.items():
            others = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
            shown = ", ".join(columns[:_MAX_COLUMNS])
            rest = f" and {len(columns) - _MAX_COLUMNS} more" if len(columns) > _MAX_COLUMNS else ""
            yield Note(f"{files[0]}{others}: columns not used: {shown}{rest}")
        if self.by_case:
            count = len(self.by_case)
            names = f"{pluralize(count, 'name')} found without regard to case, such as"
            yield Note(f"{names} {self.by_case[0]}")


def _first_present(columns: Sequence[str], present: frozenset[str]) -> list[str]:
    return [column for column in columns if column in present][:1]


def _key_of(row: Row, column: str) -> str:
    """Return the name in a column, "" for none; a number is a name, too."""
    value = row.values.get(column)
    is_name = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_name else ""


def _first_text(row: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    """Return the first value that is not empty, as text."""
    for column in columns:
        value = row.get(column)
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # an empty cell makes a column of numbers one of floats
        is_value = isinstance(value, str | int | float) and value == value  # not NaN
        if is_value and (text := str(value).strip()):
            return text
    return None


def _skip_values(name: str, row: Mapping[str, Any]) -> Iterator[SkippedFile]:
    """Yield the columns of texts, labels and splits whose values are of a type without use."""
    checks = ((caption_columns(row), _is_text_or_list), (keyword_columns(row), has_keyword_type))
    for by_language, is_text in checks:
        numbers = list_number_columns(row, by_language)
        for column in (column for names in by_language.values() for column in names):
            if column not in numbers and not is_text(row[column]):
                yield SkippedFile(f"{name}, {column}", "a value that is not text", "record")
    for column in (*LABEL_COLUMNS, *SPLIT_COLUMNS):
        value = row.get(column)
        if isinstance(value, dict) or (isinstance(value, list | tuple) and len(value) != 1):
            yield SkippedFile(f"{name}, {column}", "several values instead of one", "record")


def _is_text_or_list(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_text_or_list, value))
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def _describe_text(name: str) -> str:
    file = name.rpartition("/")[2].lower()
    if read_split_name(split_suffix(file)[0]).split:
        return "named like a split; splits are read from folders, or from a column of metadata.csv"
    if file.startswith(ABOUT):
        return "a text, but not the caption of an image"
    return "a caption without an image"
