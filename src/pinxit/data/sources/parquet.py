"""Parquet, a file or a folder of them: an `image` column with bytes, as the hub keeps images."""

from __future__ import annotations

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.captions import caption_columns, parse_captions
from pinxit.data.decode import UnreadableImage
from pinxit.data.records import Kind, Record, Source, file_key
from pinxit.data.sources.folder import has_images
from pinxit.data.splits import parse_split, split_from_filename
from pinxit.errors import PinxitError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

GROUPS_HELD = 2  # row groups in memory at once: threads read in order, so a neighbour or two


def find(text: str, seed: int) -> Source | None:
    path = Path(text).expanduser()
    if path.is_dir():
        files = sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")])
        # among images, one such file is something else, such as their vectors
        return parquet_files(text, path, files) if files and not has_images(path) else None
    if path.is_file() and path.suffix.lower() == ".parquet":
        return parquet_files(text, path.parent, [path])
    return None


def parquet_files(text: str, root: Path, files: Sequence[Path]) -> Source:
    """The images of parquet files, in the order of the files."""

    def records() -> Iterator[Record]:
        for file in files:
            yield from _records(file, named=len(files) > 1)

    return Source(text, lambda: file_key(root, files), records)


class Groups:
    """The image column of a file, row group by row group; a few are held. Safe among threads."""

    def __init__(self, path: Path, file: pq.ParquetFile, column: str) -> None:
        self.path, self.file, self.column = path, file, column
        self.held: OrderedDict[int, pa.Array] = OrderedDict()
        self.lock = threading.Lock()

    def read(self, group: int, row: int) -> bytes:
        """One image's bytes. Raises Unreadable where the row has none."""
        value = self._group(group)[row].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None and isinstance(value, dict) and value.get("path"):
            return self._beside(value["path"])
        if content is None:
            raise UnreadableImage("the row has no image")
        return content

    def _group(self, group: int) -> pa.ChunkedArray | pa.Array:
        with self.lock:
            if group not in self.held:
                self.held[group] = self.file.read_row_group(group, [self.column])[self.column]
                while len(self.held) > GROUPS_HELD:
                    self.held.popitem(last=False)
            self.held.move_to_end(group)
            return self.held[group]

    def _beside(self, name: str) -> bytes:
        root = self.path.parent.resolve()
        file = (root / name).resolve()
        # a parquet that others wrote may name any file of this machine
        if not file.is_relative_to(root):
            raise UnreadableImage("names a file outside the parquet's folder")
        return file.read_bytes()


def _records(path: Path, named: bool) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        column = image_column(schema, path)
        groups = Groups(path, file, column)
        class_names = _class_names(schema)
        wanted = [
            name
            for name in ("label", "label_name", "split", *caption_columns(schema.names).values())
            if name in schema.names
        ]
        if pa.types.is_struct(schema.field(column).type):
            wanted.append(f"{column}.path")
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            rows = file.read_row_group(group, wanted).to_pylist() if wanted else [{}] * count
            for i, row in enumerate(rows):
                where = f"row-{group:03d}-{i:05d}"
                name = (row.get(column) or {}).get("path") or where
                yield Record(
                    f"{path.stem}/{name}" if named else str(name),
                    functools.partial(groups.read, group, i),
                    **_labelled(row, class_names),
                    captions=parse_captions(row),
                    split=parse_split(str(row.get("split"))) or split_from_filename(path.name),
                )
    except pa.ArrowException as error:
        raise PinxitError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise PinxitError(f"{path} cannot be read: {error.strerror or error}") from None


def image_column(schema: pa.Schema, path: Path | str) -> str:
    """The column that holds images: `image`, `img`, or the one that can. Raises PinxitError."""
    able = [field.name for field in schema if _holds_bytes(field.type)]
    for name in ("image", "img", *(able if len(able) == 1 else [])):
        if name in able:
            return name
    raise PinxitError(
        f"{path} has no `image` column with images' bytes; "
        f"it has: {', '.join(schema.names) or 'no columns'}."
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return "bytes" in [field.name for field in kind]
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_names(schema: pa.Schema) -> Sequence[str]:
    """The names of the `label` column's classes, where the hub's `datasets` wrote the file."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return tuple(told["info"]["features"]["label"]["names"])
    except (ValueError, KeyError, TypeError):
        return ()


def _labelled(row: dict[str, Any], class_names: Sequence[str]) -> dict[str, Any]:
    label, name = row.get("label"), row.get("label_name")
    if isinstance(label, int):
        if name is None and 0 <= label < len(class_names):
            name = class_names[label]
        return {"rank": label, "label": name}
    name = name if name is not None else label
    return {"label": None if name is None else str(name)}


KIND = Kind(
    data="FILE.parquet, FOLDER/ of them",
    says="A column `image` (a struct with bytes, or bytes); maybe label, label_name, split, "
    "caption or caption_en, caption_fr.",
    examples=("clothing.parquet", "data/"),
    find=find,
)
