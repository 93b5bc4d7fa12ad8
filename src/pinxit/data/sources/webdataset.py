"""WebDataset: `.tar` shards where the files of a sample share a name.

A sample is `0001.jpg`, optionally with `0001.cls` (label), `0001.txt` (caption; `0001.fr.txt` in
French) and `0001.json`.
"""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinxit.data.captions import (
    UNDETERMINED,
    merge_captions,
    parse_caption_lines,
    parse_captions,
    separate_first,
)
from pinxit.data.decode import UnreadableImage
from pinxit.data.formats import SUFFIXES
from pinxit.data.groups import parse_group
from pinxit.data.images import SkippedFile
from pinxit.data.records import Record, Source, SourceType, hash_files
from pinxit.data.sources.folder import has_images
from pinxit.data.splits import parse_split, split_from_filename
from pinxit.errors import PinxitError, UsageError

MAX_TEXT_BYTES = 1 << 20  # larger captions and JSON files are ignored
TRUNCATED = "the shard is truncated here"


def open_webdataset(data: str, seed: int) -> Source | None:
    path = Path(data).expanduser()
    if path.is_file() and path.name.endswith((".tar.gz", ".tgz")):
        raise UsageError(f"{data}: compressed shards are not supported; run gunzip first.")
    if path.is_dir():
        files = sorted(path.glob("*.tar"))
        # beside image files, a tar file may hold other data, such as embeddings
        return _shards(data, path, files) if files and not has_images(path) else None
    if path.is_file() and path.suffix.lower() == ".tar":
        return _shards(data, path.parent, [path])
    return None


def _shards(data: str, root: Path, files: Sequence[Path]) -> Source:
    def with_groups(group_by: str) -> Source:
        def list_records() -> Iterator[Record | SkippedFile]:
            for file in files:
                yield from _list_records(file, group_by)

        return Source(data, lambda: hash_files(root, files), list_records, with_groups=with_groups)

    return with_groups("auto")


def _list_records(shard: Path, group_by: str) -> Iterator[Record | SkippedFile]:
    """Yield the samples of a shard. Reads its headers and texts, but not its images."""
    sample, members = "", {}
    for member in _list_members(shard):
        if isinstance(member, SkippedFile):
            yield member
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if (key := f"{folder}/{stem}".lstrip("/.")) != sample:
            yield from _sample_record(shard, sample, members, group_by)
            sample, members = key, {}
        members[extension.lower()] = member
    yield from _sample_record(shard, sample, members, group_by)


def _list_members(shard: Path) -> Iterator[tarfile.TarInfo | SkippedFile]:
    try:
        size = shard.stat().st_size
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if not member.isfile() or "/." in f"/{member.name.removeprefix('./')}":
                    continue  # a folder, or a hidden file
                if member.offset_data + member.size > size:
                    yield SkippedFile(f"{shard.name}/{member.name}", TRUNCATED)
                    return
                yield member
    except tarfile.ReadError as error:
        if "unexpected end" not in str(error):
            raise PinxitError(f"{shard} is not a tar file: {error}.") from None
        yield SkippedFile(shard.name, "the shard is truncated; its remaining images are missing")
    except OSError as error:
        raise PinxitError(f"{shard} cannot be opened: {error.strerror}.") from None


def _sample_record(
    shard: Path, sample: str, members: dict[str, tarfile.TarInfo], group_by: str
) -> Iterator[Record]:
    """Yield the record of a sample, if it has an image; `members` are its files by extension."""
    image = next((m for extension, m in members.items() if f".{extension}" in SUFFIXES), None)
    if image is None:
        return
    texts = {
        extension: _read(shard, m.offset_data, m.size)
        for extension, m in members.items()
        if (extension in ("cls", "json") or extension.endswith("txt")) and m.size <= MAX_TEXT_BYTES
    }
    row = _parse_json(texts.get("json"))
    label = _decode(texts["cls"]) if "cls" in texts else row.get("label")
    label = None if label is None else str(label).strip()
    is_number = label is not None and label.lstrip("-").isdecimal()
    captions, more_captions = separate_first(merge_captions(_captions(texts), parse_captions(row)))
    yield Record(
        f"{shard.stem}/{sample}",
        functools.partial(_read_image, shard, image.offset_data, image.size),
        label=row.get("label_name") if is_number else label,
        label_index=int(label) if is_number and label is not None else None,
        captions=captions,
        more_captions=more_captions,
        split=parse_split(str(row.get("split"))) or split_from_filename(shard.name),
        group=parse_group(row, group_by),
    )


def _captions(texts: dict[str, bytes]) -> dict[str, tuple[str, ...]]:
    captions = {}
    for extension, content in texts.items():
        language, _, last = extension.rpartition(".")
        if last == "txt" and (captions_of_file := parse_caption_lines(_decode(content))):
            captions[language or UNDETERMINED] = captions_of_file
    return captions


def _parse_json(content: bytes | None) -> dict[str, Any]:
    try:
        row = json.loads(content or b"{}")
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _read(shard: Path, offset: int, size: int) -> bytes:
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _read_image(shard: Path, offset: int, size: int) -> bytes:
    content = _read(shard, offset, size)
    if len(content) < size:
        raise UnreadableImage(TRUNCATED)
    return content


SOURCE_TYPE = SourceType(
    pattern="SHARD.tar, FOLDER/ of them",
    description="WebDataset shards: 0001.jpg with 0001.cls, 0001.txt (or .en.txt, .fr.txt) and "
    "0001.json. A shard whose name begins with train-, validation- or test- belongs to that split.",
    examples=("train-0000.tar", "shards/"),
    open=open_webdataset,
)
