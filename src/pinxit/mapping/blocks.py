"""Compute blocks on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import open_atomically
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping.job import Job
from pinxit.mapping.output import COMPARED, missing_blocks, part_path, write_skipped

METADATA_KEY = b"pinxit"  # in the schema of each part: the record as JSON
UNREADABLE_KEY = b"pinxit-unreadable"  # in its metadata: JSON of the images that cannot be read


def parse_shard(text: str) -> tuple[int, int]:
    """Return (index, number) of a shard `i/n`, with i from 0 to n - 1 as ranks are counted.

    Raises UsageError for another text.
    """
    if not isinstance(text, str):
        raise UsageError(f"shard is i/n such as '0/4', not {text!r}.")
    index, slash, number = text.partition("/")
    if not (slash and index.isdecimal() and number.isdecimal() and int(number) > 0):
        raise UsageError(f"shard is i/n such as 0/4, not '{text}'.")
    if int(index) >= int(number):
        last = int(number) - 1
        raise UsageError(f"shard is 0/{number} to {last}/{number}, counted from 0, not '{text}'.")
    return int(index), int(number)


def check_engine(engine: str, address: str | None) -> None:
    """Raise UsageError for an engine that is none, and for the address of one that has none."""
    if engine not in ("local", "ray"):
        raise UsageError(f"engine is local or ray, not {engine!r}.")
    if address is not None and engine != "ray":
        raise UsageError("address is that of a Ray cluster: it needs engine ray.")


def compute_block(job: Job, block: int) -> int:
    """Write the part of a block, and return its number of images.

    Nothing is computed for a block that has its part. The part appears when it is complete, and
    names the images of the block that could not be read.
    """
    import pyarrow.parquet as pq

    path, selected = part_path(job.out, block), job.block_rows(block)
    count = selected.stop - selected.start
    if path.exists():
        return count
    metadata, unreadable = _metadata(job), []
    try:
        with (
            open_atomically(path) as file,
            pq.ParquetWriter(file, job.schema.with_metadata(metadata)) as writer,
        ):
            for table in job.tables(selected, unreadable):
                writer.write_table(table.replace_schema_metadata(metadata))
            if unreadable:
                found = json.dumps([dataclasses.asdict(item) for item in unreadable])
                writer.add_key_value_metadata({UNREADABLE_KEY: found})
    except FileNotFoundError:
        if not path.exists():  # else another process finished it, and removed what was unfinished
            raise
    return count


def _metadata(job: Job) -> dict[bytes, bytes]:
    grid = getattr(job.model, "grid", None) if job.record.task == "tokenize" else None
    facts = job.record.to_json() | ({"grid": list(grid)} if grid else {})
    return {METADATA_KEY: json.dumps(facts, sort_keys=True).encode()}


def check_parts(out: Path, job: Job, blocks: Sequence[int]) -> None:
    """Check the parts that exist. Raises PinxitError for one that is damaged or another job's."""
    expected = job.record.to_json()
    for block in sorted({*blocks} - {*missing_blocks(out, blocks)}):
        path, selected = part_path(out, block), job.block_rows(block)
        count, found, unreadable = _read_facts(path)
        same = all(found.get(name) == expected[name] for name in COMPARED)
        if not same or count + len(unreadable) != selected.stop - selected.start:
            raise PinxitError(f"{path} is no part of this output; remove it and try again.")


def record_skipped(job: Job, skipped: Sequence[SkippedFile]) -> list[SkippedFile]:
    """Write the list of what was not read so far; return the images of the parts that were not.

    Other processes may finish parts meanwhile: the last one to end writes all.
    """
    while True:
        missing = missing_blocks(job.out, range(job.record.num_blocks))
        done = sorted({*range(job.record.num_blocks)} - {*missing})
        parts = [part_path(job.out, block) for block in done]
        unreadable = [item for path in parts for item in _read_facts(path)[2]]
        write_skipped(job.out, [*skipped, *unreadable])
        if missing_blocks(job.out, range(job.record.num_blocks)) == missing:
            return unreadable


def _read_facts(path: Path) -> tuple[int, dict[str, Any], list[SkippedFile]]:
    """Return a part's number of images, its record, and the images that could not be read.

    Raises PinxitError if it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            count, facts = file.metadata.num_rows, file.metadata.metadata or {}
        found = decode_json(facts.get(METADATA_KEY, b"{}"))
        unreadable = [SkippedFile(**item) for item in decode_json(facts.get(UNREADABLE_KEY, b"[]"))]
        return count, dict(found), unreadable
    except (OSError, pa.ArrowException, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise PinxitError(f"{path} is damaged ({reason}); remove it and try again.") from None


def compute_here(job: Job, blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Compute blocks one after another; yield the images of each, and its number."""
    for block in blocks:
        yield compute_block(job, block), block
