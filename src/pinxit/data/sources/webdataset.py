"""WebDataset: `.tar` shards in which the files of one sample share a name: `0001.jpg`, `0001.cls`,
`0001.txt` (a caption; `0001.fr.txt` in French), `0001.json`."""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinxit.data.captions import UNDETERMINED, parse_captions
from pinxit.data.decode import SUFFIXES, UnreadableImage
from pinxit.data.images import SkippedFile
from pinxit.data.records import Kind, Record, Source, file_key
from pinxit.data.sources.folder import has_images
from pinxit.data.splits import parse_split, split_from_filename
from pinxit.errors import PinxitError, UsageError

LARGEST_TEXT = 1 << 20  # bytes of a caption or record; beyond it is none


def find(text: str, seed: int) -> Source | None:
    path = Path(text).expanduser()
    if path.is_file() and path.name.endswith((".tar.gz", ".tgz")):
        raise UsageError(f"{text}: a compressed shard cannot be read in parts; gunzip it first.")
    if path.is_dir():
        files = sorted(path.glob("*.tar"))
        # among images, one such file is something else, such as their vectors
        return shards(text, path, files) if files and not has_images(path) else None
    if path.is_file() and path.suffix.lower() == ".tar":
        return shards(text, path.parent, [path])
    return None


def shards(text: str, root: Path, files: Sequence[Path]) -> Source:
    """The images of tar files; a file that begins with `train-` and so on names its split."""

    def records() -> Iterator[Record | SkippedFile]:
        for file in files:
            yield from _records(file)

    return Source(text, lambda: file_key(root, files), records)


def _records(shard: Path) -> Iterator[Record | SkippedFile]:
    """The samples of one shard. Its headers are read, not its images."""
    key, files = "", {}
    for member in _members(shard):
        if isinstance(member, SkippedFile):
            yield member
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if (found := f"{folder}/{stem}".lstrip("/.")) != key:
            yield from _sample(shard, key, files)
            key, files = found, {}
        files[extension.lower()] = member
    yield from _sample(shard, key, files)


def _members(shard: Path) -> Iterator[tarfile.TarInfo | SkippedFile]:
    try:
        size = shard.stat().st_size
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if not member.isfile() or "/." in f"/{member.name.removeprefix('./')}":
                    continue
                if member.offset_data + member.size > size:
                    yield SkippedFile(f"{shard.name}/{member.name}", "the shard is truncated there")
                    return
                yield member
    except tarfile.ReadError as error:
        if "unexpected end" not in str(error):
            raise PinxitError(f"{shard} is no tar file: {error}.") from None
        yield SkippedFile(shard.name, "the shard is truncated; what comes before is read")
    except OSError as error:
        raise PinxitError(f"{shard} cannot be opened: {error.strerror}.") from None


def _sample(shard: Path, key: str, files: dict[str, tarfile.TarInfo]) -> Iterator[Record]:
    image = next((m for ext, m in files.items() if f".{ext}" in SUFFIXES), None)
    if image is None:
        return
    texts = {
        ext: _read(shard, m.offset_data, m.size)
        for ext, m in files.items()
        if (ext in ("cls", "json") or ext.endswith("txt")) and m.size <= LARGEST_TEXT
    }
    row = _json(texts.get("json"))
    label = _text(texts["cls"]) if "cls" in texts else row.get("label")
    label = None if label is None else str(label).strip()
    numbered = label is not None and label.lstrip("-").isdecimal()
    yield Record(
        f"{shard.stem}/{key}",
        functools.partial(_image, shard, image.offset_data, image.size),
        label=row.get("label_name") if numbered else label,
        rank=int(label) if numbered and label is not None else None,
        captions={**parse_captions(row), **_captions(texts)},
        split=parse_split(str(row.get("split"))) or split_from_filename(shard.name),
    )


def _captions(texts: dict[str, bytes]) -> dict[str, str]:
    captions = {}
    for extension, content in texts.items():
        language, _, last = extension.rpartition(".")
        if last == "txt" and (caption := " ".join(_text(content).split())):
            captions[language or UNDETERMINED] = caption
    return captions


def _json(content: bytes | None) -> dict[str, Any]:
    try:
        row = json.loads(content or b"{}")
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _read(shard: Path, offset: int, size: int) -> bytes:
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _image(shard: Path, offset: int, size: int) -> bytes:
    content = _read(shard, offset, size)
    if len(content) < size:
        raise UnreadableImage("the shard is truncated there")
    return content


KIND = Kind(
    data="SHARD.tar, FOLDER/ of them",
    says="WebDataset shards: 0001.jpg with 0001.cls, 0001.txt (or .en.txt, .fr.txt), 0001.json; "
    "train-0000.tar is of the train split.",
    examples=("train-0000.tar", "shards/"),
    find=find,
)
