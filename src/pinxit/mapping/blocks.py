"""Compute blocks on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pinxit.data.atomic_write import open_atomically
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping.job import Job
from pinxit.mapping.output import COMPARED, missing_blocks, part_path
from pinxit.sampling.stream_rows import StreamRows

METADATA_KEY = b"pinxit"  # in the schema of each part: the record as JSON


def parse_shard(text: str) -> tuple[int, int]:
    """Return (index, number) of a shard `i/n`, with i from 0 to n - 1 as ranks are counted.

    Raises UsageError for another text.
    """
    index, slash, number = text.partition("/")
    if not (slash and index.isdecimal() and number.isdecimal() and int(number) > 0):
        raise UsageError(f"shard is i/n such as 0/4, not '{text}'.")
    if int(index) >= int(number):
        last = int(number) - 1
        raise UsageError(f"shard is 0/{number} to {last}/{number}, counted from 0, not '{text}'.")
    return int(index), int(number)


def compute_block(job: Job, block: int) -> int:
    """Write the part of a block, and return its number of images.

    Nothing is computed for a block that has its part. The part appears when it is complete.
    """
    import pyarrow.parquet as pq

    path, selected = part_path(job.out, block), job.block_rows(block)
    count = selected.stop - selected.start
    if path.exists():
        return count
    try:
        with open_atomically(path) as file:
            writer = None
            try:
                for table in job.tables(selected):
                    table = table.replace_schema_metadata(_metadata(job))
                    writer = writer or pq.ParquetWriter(file, table.schema)
                    writer.write_table(table)
            finally:
                if writer is not None:
                    writer.close()
            if writer is None:
                raise PinxitError(f"no image of block {block} can be read; check the shards.")
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = job.record.to_json()
    for block in sorted({*blocks} - {*missing_blocks(out, blocks)}):
        path, selected = part_path(out, block), job.block_rows(block)
        try:
            with pq.ParquetFile(path) as file:
                count, facts = file.metadata.num_rows, file.schema_arrow.metadata or {}
            found = json.loads(facts.get(METADATA_KEY, b"{}"))
            same = all(found.get(name) == expected[name] for name in COMPARED)
        except (OSError, pa.ArrowException, ValueError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise PinxitError(f"{path} is damaged ({reason}); remove it and try again.") from None
        expected_count = selected.stop - selected.start
        # images of a stream that cannot be read are found out when they are computed
        is_short = count < expected_count and not isinstance(job.rows, StreamRows)
        if not same or is_short or count > expected_count:
            raise PinxitError(f"{path} is no part of this output; remove it and try again.")


def compute_here(job: Job, blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Compute blocks one after another; yield the images of each, and its number."""
    for block in blocks:
        yield compute_block(job, block), block
