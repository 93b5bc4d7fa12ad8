"""Parquet files with a column of encoded images, as the Hugging Face Hub stores datasets."""

from __future__ import annotations

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.captions import caption_columns, parse_captions, separate_first
from pinxit.data.decode import UnreadableImage
from pinxit.data.groups import group_columns, parse_group
from pinxit.data.records import Record, Source, SourceType, hash_files
from pinxit.data.sources.folder import has_images
from pinxit.data.splits import parse_split, split_from_filename
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError

if TYPE_CHECKING:  # pyarrow takes 0.1 s: functions below import it when a file is read
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_CACHED_GROUPS = 2  # row groups in memory; rows are read in order, so neighbours suffice


def open_parquet(data: str, seed: int) -> Source | None:
    path = Path(data).expanduser()
    if path.is_dir():
        files = sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")])
        # beside image files, a Parquet file may hold other data, such as embeddings
        return _parquet_files(data, path, files) if files and not has_images(path) else None
    if path.is_file() and path.suffix.lower() == ".parquet":
        return _parquet_files(data, path.parent, [path])
    return None


def _parquet_files(data: str, root: Path, files: Sequence[Path]) -> Source:
    def with_groups(group_by: str) -> Source:
        def list_records() -> Iterator[Record]:
            for file in files:
                prefix = f"{file.stem}/" if len(files) > 1 else ""
                yield from _list_records(file, prefix, group_by)

        return Source(data, lambda: hash_files(root, files), list_records, with_groups=with_groups)

    return with_groups("auto")


class ImageColumn:
    """The images of a Parquet file, read by row group. Thread-safe."""

    def __init__(self, path: Path, file: pq.ParquetFile, column: str) -> None:
        self.path, self.file, self.column = path, file, column
        self._groups: OrderedDict[int, pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, group: int, row: int) -> bytes:
        """Return the bytes of an image. Raises UnreadableImage if the row has none."""
        value = self._read_group(group)[row].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None and isinstance(value, dict) and value.get("path"):
            return self._read_linked(value["path"])
        if content is None:
            raise UnreadableImage("the row has no image")
        return content

    def _read_group(self, group: int) -> pa.ChunkedArray | pa.Array:
        with self._lock:
            if group not in self._groups:
                self._groups[group] = self.file.read_row_group(group, [self.column])[self.column]
                while len(self._groups) > MAX_CACHED_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return self._groups[group]

    def _read_linked(self, name: str) -> bytes:
        root = self.path.parent.resolve()
        file = (root / name).resolve()
        # a downloaded Parquet file must not read any file of this machine
        if not file.is_relative_to(root):
            raise UnreadableImage("names a file outside the folder of the Parquet file")
        return file.read_bytes()


def _list_records(path: Path, prefix: str, group_by: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with utf8_path(path) as readable:
            file = pq.ParquetFile(readable)
        column = find_image_column(file.schema_arrow, path)
        images = ImageColumn(path, file, column)
        class_names = _class_names(file.schema_arrow)
        columns = _other_columns(file.schema_arrow, column, group_by)
        for group, i, row in _read_rows(file, columns):
            name = (row.get(column) or {}).get("path") or f"row-{group:03d}-{i:05d}"
            captions, more_captions = separate_first(parse_captions(row))
            label, label_index = _label(row, class_names)
            yield Record(
                f"{prefix}{name}",
                functools.partial(images.read, group, i),
                label=label,
                label_index=label_index,
                captions=captions,
                more_captions=more_captions,
                split=parse_split(str(row.get("split"))) or split_from_filename(path.name),
                group=parse_group(row, group_by),
            )
    except pa.ArrowException as error:
        raise PinxitError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise PinxitError(f"{path} cannot be read: {error.strerror or error}") from None


def find_image_column(schema: pa.Schema, path: Path) -> str:
    """Return the column of images: `image`, `img`, or the only one with bytes.

    Raises PinxitError if there is none.
    """
    candidates = [field.name for field in schema if _has_bytes(field.type)]
    for name in ("image", "img", *(candidates if len(candidates) == 1 else [])):
        if name in candidates:
            return name
    raise PinxitError(
        f"{path} has no column `image` with the bytes of images; "
        f"it has: {', '.join(schema.names) or 'no columns'}."
    )


def _has_bytes(column_type: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(column_type):
        return "bytes" in [field.name for field in column_type]
    return pa.types.is_binary(column_type) or pa.types.is_large_binary(column_type)


def _other_columns(schema: pa.Schema, image_column: str, group_by: str) -> list[str]:
    """Return the columns of labels, splits, groups, captions and names."""
    import pyarrow as pa

    captions = caption_columns(schema.names).values()
    names = ("label", "label_name", "split", *group_columns(group_by), *captions)
    columns = [name for name in names if name in schema.names]
    if pa.types.is_struct(schema.field(image_column).type):
        columns.append(f"{image_column}.path")
    return columns


def _read_rows(
    file: pq.ParquetFile, columns: list[str]
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield each row's group, its index there, and its values."""
    for group in range(file.num_row_groups):
        num_rows = file.metadata.row_group(group).num_rows
        rows = file.read_row_group(group, columns).to_pylist() if columns else [{}] * num_rows
        for i, row in enumerate(rows):
            yield group, i, row


def _class_names(schema: pa.Schema) -> Sequence[str]:
    """Return the class names of the column `label`, in files that `datasets` wrote."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return tuple(metadata["info"]["features"]["label"]["names"])
    except (ValueError, KeyError, TypeError):
        return ()


def _label(row: dict[str, Any], class_names: Sequence[str]) -> tuple[str | None, int | None]:
    """Return a row's label name and number; None if unknown."""
    label, name = row.get("label"), row.get("label_name")
    if isinstance(label, int):
        if name is None and 0 <= label < len(class_names):
            name = class_names[label]
        return name, label
    name = name if name is not None else label
    return (None if name is None else str(name)), None


SOURCE_TYPE = SourceType(
    pattern="FILE.parquet, FOLDER/ of them",
    description="A column `image` (bytes, or a struct with bytes); optionally label, label_name, "
    "split, caption or caption_en, caption_fr.",
    examples=("clothing.parquet", "data/"),
    open=open_parquet,
)
