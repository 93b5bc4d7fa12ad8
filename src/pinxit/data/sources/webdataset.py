"""WebDataset: `.tar` shards where the files of a sample share a name.

A sample is `0001.jpg`, optionally with `0001.cls` (label), `0001.txt` (caption; `0001.fr.txt` in
French) and `0001.json`. Its files may stand anywhere in the shard. Without labels in such files,
the folders in the shards are labels and splits, as those of a folder of images.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinxit.data.captions import merge_captions, parse_caption_lines, parse_captions, separate_first
from pinxit.data.decode import UnreadableImage
from pinxit.data.home_folder import expand_home
from pinxit.data.imagefolder.levels import find_levels
from pinxit.data.imagefolder.listing import CAPTION_SUFFIXES
from pinxit.data.imagefolder.tables import decode_text, normalize_column
from pinxit.data.records import Listed, Note, Record, Source, SourceType, UsedFile
from pinxit.data.shards.files import splits_of_shards
from pinxit.data.shards.rows import RowReader
from pinxit.data.shards.samples import LABEL_SUFFIXES, Sample, join_samples, key_of, suffix_of
from pinxit.data.shards.shard_set import LocalShard, Located, ShardItem
from pinxit.data.shards.source import open_shards
from pinxit.data.shards.tar_members import TRUNCATED, Member, list_members
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import decode_json
from pinxit.errors import UsageError

MAX_SIBLINGS = 16  # images of a sample; more are numbered ones, as `frame.0001.png`

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_webdataset(data: str, seed: int) -> Source | None:
    path = expand_home(data)
    if path.is_file() and path.name.lower().endswith(_COMPRESSED):
        raise UsageError(f"{data}: compressed shards are not supported; run gunzip first.")
    return open_shards(data, ".tar", _list_records, read_shard, counts_files=True)


def _list_records(root: Path, files: Sequence[Path], group_by: str) -> Iterator[Listed]:
    """Yield the samples of all shards. Reads their headers and texts, but not their images."""
    rows = RowReader(group_by)
    splits, notes = splits_of_shards(root, files)
    yield from map(Note, notes)
    records: list[tuple[str, Record]] = []  # with the path of the image, in the shard's folder
    for shard, split in zip(files, splits, strict=True):
        for item in _read_samples(LocalShard(root, shard), split, rows):
            if isinstance(item, Located):
                records.append((item.path, item.record))
            else:
                yield item
    yield from rows.list_notes()
    yield from add_folders(records)


def read_shard(shard: LocalShard, split: str | None, group_by: str) -> Iterator[ShardItem]:
    """Yield the samples of one shard, and what of it is not used."""
    rows = RowReader(group_by)
    yield from _read_samples(shard, split, rows)
    yield from rows.list_notes()


def _read_samples(shard: LocalShard, split: str | None, rows: RowReader) -> Iterator[ShardItem]:
    """Yield the samples of a shard with the paths of their images in the shard's folder."""
    path = shard.file.relative_to(shard.root)
    reader = _SampleReader(rows, path.with_suffix("").as_posix(), split)
    for item in join_samples(list(list_members(shard.file))):
        if isinstance(item, Sample):
            yield Located((path.parent / item.image.name).as_posix(), reader.read(item))
        else:
            yield item
    yield from reader.listed.values()


def add_folders(records: Sequence[tuple[str, Record]]) -> Iterator[Record | Note]:
    """Yield the records; without labels or splits, with those of the folders in the shards."""
    has_labels = any(r.label is not None or r.label_index is not None for _, r in records)
    with_split = {path for path, record in records if record.split}
    levels = find_levels(list(dict.fromkeys(path for path, _ in records)), with_split)
    yield from map(Note, levels.notes)
    for path, record in records:
        label = record.label if has_labels else levels.labels.get(path)
        split = record.split or levels.splits.get(path)
        yield dataclasses.replace(record, label=label, split=split)


class _SampleReader:
    """Reads the samples of a shard. `listed` says of each of their texts if it is used."""

    def __init__(self, rows: RowReader, shard_name: str, split: str | None) -> None:
        self.rows, self.shard_name, self.split = rows, shard_name, split
        self.listed: dict[Member, UsedFile | SkippedFile] = {}

    def read(self, sample: Sample) -> Record:
        row: dict[str, Any] = {}
        captions: dict[str, tuple[str, ...]] = {}
        for member, language in sample.texts:
            try:
                text = decode_text(member.read())
                if suffix_of(member.name) == ".json":
                    row = {**_parse_json(text), **row}
                elif suffix_of(member.name) in LABEL_SUFFIXES:
                    row["label"] = _parse_label(text)
                else:
                    captions = merge_captions(captions, {language: _parse_caption(text)})
                self._use(member)
            except UnicodeDecodeError:
                self._skip(member, "not UTF-8 text")
            except ValueError as error:
                self._skip(member, str(error))
        self.rows.select_columns(row)
        fields = self.rows.read(row)
        own = merge_captions(captions, parse_captions(row))
        fields["captions"], fields["more_captions"] = separate_first(own)
        fields["split"] = fields["split"] or self.split
        if 1 < sample.siblings <= MAX_SIBLINGS and self.rows.group_by == "auto":
            fields["group"] = fields["group"] or f"sample={self.shard_name}/{_key(sample)}"
        name = sample.image.name if sample.siblings > 1 else _key(sample)
        read = functools.partial(_read_image, sample.image)
        return Record(f"{self.shard_name}/{name}", read, file=sample.image.shard, **fields)

    def _use(self, member: Member) -> None:
        is_caption = suffix_of(member.name) in CAPTION_SUFFIXES
        role = "captions" if is_caption else "metadata"
        self.listed[member] = UsedFile(f"{member.shard.name}/{member.name}", role)

    def _skip(self, member: Member, reason: str) -> None:
        self.listed[member] = SkippedFile(f"{member.shard.name}/{member.name}", reason)


def _key(sample: Sample) -> str:
    return key_of(sample.image.name)


def _parse_json(text: str) -> dict[str, Any]:
    """Return the row of a JSON file, with normalized names of columns. Raises ValueError."""
    try:
        row = decode_json(text)
    except ValueError:
        raise ValueError("not valid JSON") from None
    if not isinstance(row, dict):
        raise ValueError("JSON, but not an object with names and values")
    row = {normalize_column(column): value for column, value in row.items()}
    if isinstance(row.get("label"), str):
        row["label"] = _parse_label(row["label"]) if row["label"].strip() else None
    return row


def _parse_label(text: str) -> str | int:
    """Return the name or the number of a label. Raises ValueError if there is none."""
    text = text.strip()
    if not text:
        raise ValueError("a label file without text")
    is_number = text.removeprefix("-").isdecimal() and text.isascii()
    return int(text) if is_number else text


def _parse_caption(text: str) -> tuple[str, ...]:
    if not (captions := parse_caption_lines(text)):
        raise ValueError("a caption file without text")
    return captions


def _read_image(member: Member) -> bytes:
    content = member.read()
    if len(content) < member.size:
        raise UnreadableImage(TRUNCATED)
    return content


SOURCE_TYPE = SourceType(
    pattern="SHARD.tar, FOLDER/ or pattern of them",
    description="WebDataset shards: 0001.jpg with 0001.cls, 0001.txt (or .en.txt, .fr.txt) and "
    "0001.json. Shards whose names or folders name train, validation or test belong to that split.",
    examples=("train-0000.tar", "shards/", "'shards/{000..009}.tar'"),
    open=open_webdataset,
)
