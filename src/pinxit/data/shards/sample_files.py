"""The files of one image in a WebDataset shard: the image itself, and what is known about it."""

from __future__ import annotations

import io
import json
import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from pinxit.data.captions import UNDETERMINED
from pinxit.data.encoding import encode_image, to_pil
from pinxit.data.formats import SUFFIXES
from pinxit.data.records import Record
from pinxit.data.unicode_forms import escape_surrogates

MAX_KEY_NAME = 80  # characters of an image's name in its key

_SUFFIX_OF_START = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)


def sample_key(index: int, name: str) -> str:
    """Return the name of a sample: its number in the source, and the image's name for readers.

    >>> sample_key(7, "cats/a photo.v2.jpg")
    '00000007-a_photo_v2'
    """
    words = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:MAX_KEY_NAME].strip("_")
    return f"{index:08d}-{words}" if words else f"{index:08d}"


def sample_files(key: str, record: Record, content: bytes | np.ndarray) -> list[tuple[str, bytes]]:
    """Return the name and the bytes of each file of a sample, the image first.

    The bytes of image files are unchanged; arrays are encoded without loss: as PNG where it can
    hold them, else as TIFF.
    """
    suffix, encoded = _encode(record.name, content)
    files = [(key + suffix, encoded)]
    if (label := _class_text(record)) is not None:
        files.append((f"{key}.cls", label.encode()))
    row = _describe(record)
    if (text := _plain_caption(record)) is not None:
        files.append((f"{key}.txt", text.encode()))
        del row["caption"]
    if row:
        files.append((f"{key}.json", json.dumps(row, sort_keys=True).encode()))
    return files


def _encode(name: str, content: bytes | np.ndarray) -> tuple[str, bytes]:
    if isinstance(content, bytes):
        return _suffix_of(name, content), content
    if content.dtype == bool:
        content = content.astype(np.uint8) * 255  # as a TIFF of 1 bit it would be read inverted
    if content.dtype == np.uint8 and content.shape[2:] in ((), (1,), (3,)):
        pixels = content[..., None] if content.ndim == 2 else content
        return ".png", encode_image(to_pil(pixels))
    import tifffile  # 0.1 s

    with io.BytesIO() as file:
        tifffile.imwrite(file, content)
        return ".tif", file.getvalue()


def _suffix_of(name: str, content: bytes) -> str:
    """Return the suffix that the first bytes suggest, or else the one that the name has."""
    for start, suffix in _SUFFIX_OF_START:
        if content.startswith(start):
            return suffix
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ".png"


def _class_text(record: Record) -> str | None:
    """Return the text of the `.cls` file: the number of the label, or its name.

    A name of digits would be read as a number: it is in the JSON file.
    """
    if record.label_index is not None:
        return str(record.label_index)
    if record.label is None or _is_number(record.label):
        return None
    return escape_surrogates(record.label)  # a folder's name need not be UTF-8


def _is_number(label: str) -> bool:
    return re.fullmatch(r"\s*-?\d+\s*", label) is not None


def _plain_caption(record: Record) -> str | None:
    """Return the only caption of an image, if a text file can hold it."""
    text = record.captions.get(UNDETERMINED)
    if not text or UNDETERMINED in record.more_captions or re.search(r"[\r\n]", text):
        return None
    return text


def _describe(record: Record) -> dict[str, Any]:
    """Return the columns that `RowReader` reads as the fields of the record."""
    row: dict[str, Any] = {}
    if record.label is not None and (record.label_index is not None or _is_number(record.label)):
        row["label_name"] = escape_surrogates(record.label)
    for language, text in record.captions.items():
        more = record.more_captions.get(language, ())
        row[_column("caption", language)] = [text, *more] if more else text
    for language, words in record.keywords.items():
        row[_column("keywords", language)] = list(words)
    if record.split is not None:
        row["split"] = record.split
    if record.group is not None:
        column, _, value = record.group.partition("=")
        row |= {column: value} if column in ("base", "group") else {"group": record.group}
    return row


def _column(word: str, language: str) -> str:
    return word if language == UNDETERMINED else f"{word}_{language}"
