"""The folder that is written: a record, a part per block, and the images that were skipped.

    _map.json            model, images, task and options; written first
    _skipped.jsonl       what was not read so far, and why
    part-00012.parquet   the images of block 12
    _SUCCESS             empty; written when no part is missing

Readers of a folder of Parquet files ignore names that begin with `_` or `.`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import is_unfinished, remove_unfinished, write_atomically
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import convert_json, read_json
from pinxit.errors import PinxitError, UsageError

FORMAT = 3  # of 2 the set of images was recognized by other facts
RECORD_FILE = "_map.json"
SKIPPED_FILE = "_skipped.jsonl"
SUCCESS_FILE = "_SUCCESS"
# what two calls must agree on to write one output, in words
COMPARED = {
    "format": "format",
    "task": "task",
    "model": "model",
    "fingerprint": "set of images",
    "split": "split",
    "images": "number of images",
    "block_size": "block size",
    "options": "options",
}


@dataclass(frozen=True)
class Record:
    """What an output holds. Two calls whose records agree write the same parts."""

    task: str
    model: str  # hash of the weights and of the model's configuration
    fingerprint: str  # of the images of the source, all splits included
    split: str
    images: int
    block_size: int
    options: dict[str, Any]
    run: str = ""
    source: str = ""
    pinxit: str = ""  # version
    format: int = FORMAT

    @property
    def num_blocks(self) -> int:
        return -(-self.images // self.block_size)

    def of(self, **changes: Any) -> Record:
        """Return the record with other values."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Any, where: str) -> Record:
        """Return a record from JSON. Raises PinxitError if it is damaged."""
        checked = convert_json(record, cls, where)
        if checked.block_size < 1 or checked.images < 0:
            raise PinxitError(f"{where} is damaged: block_size and images cannot be.")
        return checked


def describe_difference(first: Record, second: Record) -> str:
    """Return how two records differ: `model 12ab, not 34cd`; "" if they agree."""
    texts = []
    for name, words in COMPARED.items():
        a, b = getattr(first, name), getattr(second, name)
        if isinstance(a, dict):
            names = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
            texts += [f"{key} {a.get(key)}, not {b.get(key)}" for key in names]
        elif a != b:
            texts.append(f"{words} {a}, not {b}")
    return "; ".join(texts)


def part_path(out: Path, block: int) -> Path:
    """Return the file of a block."""
    return out / f"part-{block:05d}.parquet"


def prepare_output(out: Path, record: Record) -> None:
    """Write the record of a new output, or compare with that of one that exists.

    Several processes may do it at a time. Raises UsageError for a folder that holds something else,
    and for an output of another model, other images or other options.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; out is a folder.")
    out.mkdir(parents=True, exist_ok=True)
    file = out / RECORD_FILE
    if not file.exists():
        others = [path.name for path in out.iterdir() if not is_unfinished(path.name)]
        if others and RECORD_FILE not in others and not file.exists():
            raise UsageError(
                f"{out} is not empty and no output of pinxit map: it holds {sorted(others)[0]}. "
                "Choose another folder."
            )
        _write_new(file, json.dumps(record.to_json(), indent=2, ensure_ascii=True) + "\n")
    difference = describe_difference(read_record(out), record)
    if difference:
        raise UsageError(
            f"{out} is the output of another call: {difference}.\n"
            "Choose another folder, or remove this one."
        )


def write_skipped(out: Path, skipped: Sequence[SkippedFile]) -> None:
    """Write the list of what was not read, unless it is there already."""
    lines = [json.dumps(dataclasses.asdict(item)) + "\n" for item in skipped]
    text, file = "".join(lines), out / SKIPPED_FILE
    if not file.is_file() or file.read_text("utf-8") != text:
        _write_shared(file, text)


def read_record(out: Path) -> Record:
    """Return the record of an output. Raises PinxitError if it is damaged."""
    return Record.from_json(read_json(out / RECORD_FILE), str(out / RECORD_FILE))


def _write_new(path: Path, text: str) -> None:
    """Write a file that does not exist; of several processes the first one wins."""
    own = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    temporary = own.with_name(f".{own.name}.part")
    write_atomically(temporary, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not path.exists():
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def missing_blocks(out: Path, blocks: Iterable[int]) -> list[int]:
    """Return the blocks that have no part yet."""
    names = {path.name for path in out.iterdir()}
    return [block for block in blocks if part_path(out, block).name not in names]


def mark_unfinished(out: Path, record: Record) -> None:
    """Take the mark of a complete output away where parts are missing."""
    if missing_blocks(out, range(record.num_blocks)):
        (out / SUCCESS_FILE).unlink(missing_ok=True)


def finish_output(out: Path, record: Record) -> int:
    """Mark an output that is complete, and return how many parts are missing."""
    missing = missing_blocks(out, range(record.num_blocks))
    if not missing:
        if not (out / SUCCESS_FILE).exists():
            _write_shared(out / SUCCESS_FILE, "")
        remove_unfinished(out)  # of killed processes; one that still writes finds its file written
    return len(missing)


def _write_shared(path: Path, text: str) -> None:
    """Write a file of which several processes write the same.

    Whoever finishes the output removes unfinished files, those of processes that live included.
    """
    try:
        write_atomically(path, text)
    except FileNotFoundError:
        if not path.exists():
            raise
