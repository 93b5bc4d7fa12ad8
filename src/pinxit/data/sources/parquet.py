"""Parquet files with a column of encoded images, as the Hugging Face Hub stores datasets."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.decode import UnreadableImage
from pinxit.data.home_folder import expand_home
from pinxit.data.records import Listed, Note, Record, Source, SourceType, hash_files
from pinxit.data.shards.files import find_shards, splits_of_shards
from pinxit.data.shards.rows import RowReader
from pinxit.data.shards.shard_set import LocalShard, Located, ShardItem
from pinxit.data.shards.source import open_shards
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import decode_json
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError
from pinxit.extras import require_extra

if TYPE_CHECKING:  # pyarrow takes 0.1 s: functions below import it when a file is read
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_CACHED_GROUPS = 2  # row groups in memory; rows are read in order, so neighbours suffice


def open_parquet(data: str, seed: int) -> Source | None:
    if _is_beside_shards(expand_home(data)):
        return None
    source = open_shards(data, ".parquet", _list_all, read_shard, hash_linked=_hash_linked)
    if source is not None:
        require_extra("parquet", f"reading {data}")
    return source


def _is_beside_shards(folder: Path) -> bool:
    """Return whether the Parquet files of a folder describe its `.tar` shards, as img2dataset's do.

    They have no column of images.
    """
    if not folder.is_dir() or not find_shards(folder, ".tar"):
        return False
    tables = find_shards(folder, ".parquet")
    return bool(tables) and not any(map(_has_images, tables))


def _has_images(path: Path) -> bool:
    try:
        require_extra("parquet", f"reading {path}")
    except PinxitError:  # the shards can be read without it
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with utf8_path(path) as readable:
            find_image_column(pq.read_schema(readable), path)
    except (PinxitError, OSError, pa.ArrowException):
        return False
    return True


def _hash_linked(root: Path, files: Sequence[Path]) -> str:
    """Return a hash of the image files that rows name instead of their bytes; "" for none."""
    root = root.resolve()
    linked = [file for table in files for file in _list_linked(table) if file.is_relative_to(root)]
    return f" {hash_files(root, linked)}" if linked else ""


def _list_linked(path: Path) -> list[Path]:
    try:
        require_extra("parquet", f"reading {path}")
    except PinxitError:  # said when the file is read
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with utf8_path(path) as readable, pq.ParquetFile(readable) as file:
            column = find_image_column(file.schema_arrow, path)
            if not _has_rows_without_bytes(file, column):
                return []
            rows = file.read([f"{column}.path"])[column].to_pylist()
    except (PinxitError, OSError, pa.ArrowException):  # said when the file is read
        return []
    root = path.parent.resolve()
    names = dict.fromkeys(row["path"] for row in rows if row and row.get("path"))
    return [(root / name).resolve() for name in names]


def _has_rows_without_bytes(file: pq.ParquetFile, column: str) -> bool:
    """Return whether images are named by a path alone, by the statistics of the file."""
    import pyarrow as pa

    kind = file.schema_arrow.field(column).type
    if not pa.types.is_struct(kind) or "path" not in [field.name for field in kind]:
        return False
    metadata = file.metadata
    chunks = (
        metadata.row_group(i).column(k)
        for i in range(metadata.num_row_groups)
        for k in range(metadata.num_columns)
    )
    return any(
        chunk.path_in_schema == f"{column}.bytes"
        and (chunk.statistics is None or chunk.statistics.null_count)
        for chunk in chunks
    )


def _list_all(root: Path, files: Sequence[Path], group_by: str) -> Iterator[Listed]:
    """Yield the rows of all files. One of several that cannot be read is skipped."""
    rows = RowReader(group_by)
    splits, notes = splits_of_shards(root, files)
    yield from map(Note, notes)
    for file, split in zip(files, splits, strict=True):
        prefix = f"{file.stem}/" if len(files) > 1 else ""
        try:
            yield from _list_records(file, prefix, split, rows)
        except PinxitError as error:
            if len(files) == 1:
                raise
            yield SkippedFile(file.relative_to(root).as_posix(), str(error).removesuffix("."))
    yield from rows.list_notes()


def read_shard(shard: LocalShard, split: str | None, group_by: str) -> Iterator[ShardItem]:
    """Yield the rows of one file, and what of it is not used."""
    rows = RowReader(group_by)
    prefix = "" if shard.is_only else f"{shard.file.stem}/"  # the names that loading gives
    try:
        for record in _list_records(shard.file, prefix, split, rows):
            yield Located(record.name.rpartition("/")[2], record)
    except PinxitError as error:
        name = shard.file.relative_to(shard.root).as_posix()
        yield SkippedFile(name, str(error).removesuffix("."))
    yield from rows.list_notes()


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
            raise UnreadableImage(f"row {self._first_row(group) + row:,} has no image")
        return content

    def _first_row(self, group: int) -> int:
        """Return the number of the first row of a row group, counted from 1."""
        metadata = self.file.metadata
        return 1 + sum(metadata.row_group(i).num_rows for i in range(group))

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


def _list_records(path: Path, prefix: str, split: str | None, rows: RowReader) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with utf8_path(path) as readable:
            file = pq.ParquetFile(readable)
        column = find_image_column(file.schema_arrow, path)
        images = ImageColumn(path, file, column)
        rows.set_class_column(*_find_class_column(file.schema_arrow))
        columns = rows.select_columns(name for name in file.schema_arrow.names if name != column)
        if pa.types.is_struct(file.schema_arrow.field(column).type):
            columns.append(f"{column}.path")
        for group, i, row in _read_rows(file, columns):
            image = row.pop(column, None) or {}
            fields = rows.read(row)
            fields["split"] = fields["split"] or split
            yield Record(
                f"{prefix}{image.get('path') or f'row-{group:03d}-{i:05d}'}",
                functools.partial(images.read, group, i),
                file=path,
                **fields,
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


def _read_rows(
    file: pq.ParquetFile, columns: list[str]
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield each row's group, its index there, and its values."""
    for group in range(file.num_row_groups):
        num_rows = file.metadata.row_group(group).num_rows
        rows = file.read_row_group(group, columns).to_pylist() if columns else [{}] * num_rows
        for i, row in enumerate(rows):
            yield group, i, row


def _find_class_column(schema: pa.Schema) -> tuple[str, Sequence[str]]:
    """Return the column of labels and the class names, in files that `datasets` wrote; or ""."""
    try:
        features = decode_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
        classes = {
            name: tuple(feature["names"])
            for name, feature in features.items()
            if "names" in feature
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ()
    column = "label" if "label" in classes else next(iter(classes), "")
    return column, classes.get(column, ())


SOURCE_TYPE = SourceType(
    pattern="FILE.parquet, FOLDER/ or pattern of them",
    description="A column `image` (bytes, or a struct with bytes); optionally label, label_name, "
    "split, group, caption or caption_en, caption_fr, and keywords likewise. Files and folders "
    "named train, validation or test are splits.",
    examples=("clothing.parquet", "data/", "'data/*.parquet'"),
    open=open_parquet,
)
