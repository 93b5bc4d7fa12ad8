"""Read tables of metadata: CSV with any usual delimiter, TSV, JSON, JSON Lines and Parquet.

Every record is returned with its number, or skipped with the reason.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.data.imagefolder.coco import join_coco
from pinxit.data.imagefolder.image_index import to_nfc
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import decode_json
from pinxit.data.unicode_forms import utf8_path
from pinxit.extras import require_extra

# columns with the path of an image, the preferred one first
KEY_COLUMNS = (
    *("file_name", "filename", "file", "image", "image_path", "image_file", "image_name", "img"),
    *("img_path", "path", "filepath", "file_path", "filename_image", "name", "image_id", "id"),
    "key",
)
_DELIMITERS = (",", ";", "\t", "|")
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_MAX_FIELD_BYTES = 1 << 30  # the default of `csv` refuses long captions


@dataclass(frozen=True)
class Row:
    """A record of a table; its columns have lower-case names with underscores."""

    number: int  # from 1, without the header
    values: dict[str, Any]


@dataclass(frozen=True)
class _Unusable:
    """A record that cannot be used, and why."""

    reason: str


class UnreadableTable(Exception):
    """A table that cannot be read; the text is the reason."""


def read_table(root: Path, name: str, is_image: Callable[[str], bool]) -> list[Row | SkippedFile]:
    """Read the records of a table. `is_image` tells a header from a first record.

    Raises UnreadableTable if nothing in it can be used.
    """
    suffix = Path(name).suffix.lower()
    try:
        if suffix == ".parquet":
            records: Iterator[Any] = _read_parquet(root / name)
        elif suffix in (".jsonl", ".ndjson"):
            records = _parse_json_lines(read_text(root / name))
        elif suffix == ".json":
            records = _parse_json(read_text(root / name))
        else:
            records = _parse_delimited(read_text(root / name), is_image)
        return [_make_row(name, number, record) for number, record in enumerate(records, 1)]
    except OSError as error:
        raise UnreadableTable(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UnreadableTable("cannot be read: not UTF-8 text; save it as UTF-8") from None
    except (ValueError, csv.Error) as error:
        raise UnreadableTable(f"cannot be read: {str(error).splitlines()[0]}") from None


def read_text(file: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises OSError, or UnicodeDecodeError for another encoding. Line ends stay as they are.
    """
    return decode_text(file.read_bytes())


def decode_text(content: bytes) -> str:
    """Return the text of bytes in UTF-8, or in UTF-16 with a byte order mark.

    Raises UnicodeDecodeError for another encoding.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content.decode(encoding)
    return content.decode("utf-8-sig")  # spreadsheets write a byte order mark


def _make_row(name: str, number: int, record: Any) -> Row | SkippedFile:
    if isinstance(record, _Unusable):
        return SkippedFile(f"{name}, record {number}", record.reason, "record")
    if not isinstance(record, Mapping):
        reason = "not a record with a file_name"
        return SkippedFile(f"{name}, record {number}", reason, "record")
    values: dict[str, Any] = {}
    for column, value in record.items():
        normalized = normalize_column(str(column))
        if normalized in values:  # columns of one name: several values
            values[normalized] = [*_as_list(values[normalized]), *_as_list(value)]
        else:
            values[normalized] = value
    return Row(number, values)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def normalize_column(column: str) -> str:
    """Return a column's name in lower case, with underscores.

    >>> normalize_column(" File Name ")
    'file_name'
    """
    return to_nfc(column).strip().lower().replace(" ", "_").replace("-", "_")


# -- CSV -------------------------------------------------------------------------------------------


def _parse_delimited(text: str, is_image: Callable[[str], bool]) -> Iterator[Any]:
    """Yield the records of a CSV file as mappings, or the reason why one cannot be used."""
    csv.field_size_limit(_MAX_FIELD_BYTES)
    delimiter, text = _find_delimiter(text)
    rows = _read_rows(text, delimiter, is_image)
    header = next(rows, [])
    if isinstance(header, _Unusable):
        raise ValueError(header.reason)
    if not _has_key(header) and any(map(is_image, header)):  # no header: the first is a record
        rows = itertools.chain([header], rows)
        header = _make_header(header, is_image)
    for row in rows:
        yield row if isinstance(row, _Unusable) else _match_header(header, row, delimiter)


def _read_rows(
    text: str, delimiter: str, is_image: Callable[[str], bool]
) -> Iterator[list[str] | _Unusable]:
    """Yield the values of each record that is not blank; line ends within quotes stay."""
    lines = list(io.StringIO(text, newline=""))
    has_spaces = f'{delimiter} "' in text
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=has_spaces)
    start = 0
    for row in reader:
        inner, start = lines[start + 1 : reader.line_num], reader.line_num
        if any(is_image(line.split(delimiter)[0].strip()) for line in inner):
            yield _Unusable("a quote is not closed: other records are part of this one")
        elif any(map(str.strip, row)):
            yield row


def _find_delimiter(text: str) -> tuple[str, str]:
    """Return the delimiter of a CSV file, by its first line, and its text without `sep=;`."""
    first = next(io.StringIO(text, newline=""), "")
    rest = text[len(first) :]
    first = first.rstrip("\r\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) <= 5:  # Excel
        return first.strip()[4:] or ",", rest
    headers = {mark: next(csv.reader([first], delimiter=mark), []) for mark in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda mark: (_has_key(headers[mark]), len(headers[mark])))
    return best, text


def _has_key(header: Sequence[str]) -> bool:
    return any(normalize_column(column) in KEY_COLUMNS for column in header)


def _make_header(row: Sequence[str], is_image: Callable[[str], bool]) -> list[str]:
    """Return names for the columns of a file without a header; two are the image and a caption."""
    key = next(i for i, value in enumerate(row) if is_image(value))
    others = "caption" if len(row) == 2 else ""
    return [
        "file_name" if i == key else others or f"column {i + 1} (no header)"
        for i in range(len(row))
    ]


def _match_header(header: Sequence[str], row: list[str], delimiter: str) -> Any:
    """Return a record as a list of pairs made a mapping; longer ones end in an unquoted text."""
    if len(row) > len(header):
        last = normalize_column(header[-1]) if header else ""
        if not last.startswith(("caption", "text", "prompt", "keyword", "tag")):
            return _Unusable(f"more values than the {len(header)} columns")
        row = [*row[: len(header) - 1], delimiter.join(row[len(header) - 1 :])]
    return _Pairs(zip(header, row, strict=False))


class _Pairs(Mapping[str, Any]):
    """A mapping in which a key may occur several times, as a column of a CSV file may."""

    def __init__(self, pairs: Iterator[tuple[str, Any]]) -> None:
        self._pairs = list(pairs)

    def __getitem__(self, key: str) -> Any:
        return dict(self._pairs)[key]

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self) -> Any:
        return self._pairs


# -- JSON and Parquet ------------------------------------------------------------------------------


def _parse_json_lines(text: str) -> Iterator[Any]:
    for line in text.split("\n"):  # not splitlines: U+2028 may stand within a caption
        if line.strip():
            try:
                yield decode_json(line)
            except ValueError:
                yield _Unusable("not valid JSON")


def _parse_json(text: str) -> Iterator[Any]:
    """Yield the records of a JSON file. Raises ValueError for other forms than these five.

    A list of records, alone or under one key; COCO's `images` with `annotations`; columns, as lists
    of one length; or records or captions by the name of their image.
    """
    content = decode_json(text)
    if isinstance(content, list):
        yield from content
    elif not isinstance(content, dict):
        raise ValueError("not a list of records")
    elif isinstance(content.get("images"), list) and "annotations" in content:
        yield from join_coco(content)
    elif _has_key(list(content)):
        yield from _transpose(content)
    elif len(lists := [value for value in content.values() if _is_list_of_records(value)]) == 1:
        yield from lists[0]
    else:
        for name, value in content.items():
            yield {"file_name": name} | (value if isinstance(value, dict) else {"caption": value})


def _is_list_of_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _transpose(columns: dict[str, Any]) -> Iterator[Any]:
    """Yield the records of columns: lists of one length, or one value each for one record."""
    lengths = {len(value) for value in columns.values() if isinstance(value, list)}
    if not lengths:
        yield columns
    elif len(lengths) > 1 or not all(isinstance(value, list) for value in columns.values()):
        raise ValueError("its columns differ in length")
    else:
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def _read_parquet(file: Path) -> Iterator[Any]:
    require_extra("parquet", f"reading {file}")
    import pyarrow as pa  # takes 0.1 s
    import pyarrow.parquet as pq

    try:
        with utf8_path(file) as path:
            rows = pq.read_table(path).to_pylist()
        yield from rows
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
