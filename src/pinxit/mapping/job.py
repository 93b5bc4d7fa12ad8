"""What one call computes: a model, the images, a task with its options, the folder of the output.

A `JobSpec` is sent to other machines; `open_job` reads the model and the images there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pinxit.data.cache import cache_dir
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.mapping.output import Record, describe_difference
from pinxit.mapping.tasks import TASKS
from pinxit.nn.device import resolve_device
from pinxit.runs import FITTED_FILE, Run
from pinxit.sampling.exports import describe_rows
from pinxit.sampling.inputs import load_for_run, load_run_data, match_labels, select_rows
from pinxit.sampling.stream_rows import StreamRows, all_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LOAD_LOCK = ".map.lock"  # in the cache of decoded images
HASHED_BYTES = 1 << 20  # of a file at a time


@dataclass(frozen=True)
class JobSpec:
    """A job in words: everything by which another process does the same."""

    run: Path  # absolute, as the paths in `data`
    data: tuple[str, ...]  # (): the run's own data
    split: str
    out: Path
    device: str
    record: str  # JSON of the `Record`, which model and images must agree with


@dataclass(frozen=True)
class Job:
    """A job with its model and its images."""

    record: Record
    out: Path
    model: Any = field(repr=False)
    rows: ImageRows | StreamRows = field(repr=False)

    def block_rows(self, block: int) -> slice:
        """Return the images of a block, as a range of the selected ones."""
        size = self.record.block_size
        return slice(block * size, min(len(self.rows), (block + 1) * size))

    def tables(self, selected: slice) -> Iterator[pa.Table]:
        """Yield a table per batch of a range of images: what is known of each, and the results."""
        import pyarrow as pa

        task, options = TASKS[self.record.task], self.record.options
        first, done = selected.start, 0
        for own, batch in self._batches(selected, task.batch_images(options)):
            columns: dict[str, Any] = {"row": pa.array(own, pa.int64())}
            for name, texts in describe_rows(batch).items():
                columns[name] = pa.array(texts, pa.string())
            if not len(batch.names):
                columns["name"] = pa.array([str(i) for i in own], pa.string())
            matched = match_labels(self.model, batch)
            columns |= task.compute(self.model, matched, first + done, options)
            done += len(batch)
            yield pa.table(columns)

    def _batches(self, selected: slice, max_images: int) -> Iterator[tuple[np.ndarray, Images]]:
        """Yield batches of a range of images, with the number of each."""
        if isinstance(self.rows, StreamRows):
            yield from self.rows.numbered(selected, max_images)
            return
        numbers, done = self.rows.rows[selected], 0
        for batch in ImageRows(self.rows.images, numbers).batches(max_images):
            yield numbers[done : done + len(batch)], batch
            done += len(batch)


def hash_model(run: Run) -> str:
    """Return a hash of everything that a run's model computes with."""
    run.check_weights()
    config = run.config
    facts = {"family": config["family"], "model": config["model"], "info": config["dataset_info"]}
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for file in (run.weights_path, run.path / FITTED_FILE):
        if file.is_file():
            with file.open("rb") as content:
                while part := content.read(HASHED_BYTES):
                    digest.update(part)
        digest.update(b"-")
    return digest.hexdigest()


def load_source(run: Run, data: tuple[str, ...], progress: bool) -> Images:
    """Load DATA, or the run's own data."""
    if data:
        return load_for_run(run, data, progress=progress)
    return load_run_data(run, progress=progress)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process of a machine decode the images: the others find them in the cache."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache_dir() / LOAD_LOCK)
        lock.acquire()
    except (OSError, NotImplementedError):  # without a cache or locks: each for itself
        yield
        return
    try:
        yield
    finally:
        lock.release()


@functools.lru_cache(maxsize=1)
def open_job(spec: JobSpec) -> Job:
    """Read the model and the images of a job, once in a process.

    Raises PinxitError if they are not those of the record.
    """
    from pinxit.models.abilities import require

    run, record = Run(spec.run), Record.from_json(json.loads(spec.record), "the job")
    found_model = hash_model(run)
    model = require(run.load(resolve_device(spec.device)), record.task)
    with _one_at_a_time():
        images = load_source(run, spec.data, progress=False)
    rows = all_rows(model, select_rows(images, spec.split)[0], spec.split)
    found = record.of(model=found_model, fingerprint=rows.images.fingerprint, images=len(rows))
    if found != record:
        raise PinxitError(
            f"a worker has another model or other images than the first process: "
            f"{describe_difference(record, found)}. RUN and DATA must be the same on all machines."
        )
    return Job(record, spec.out, model, rows)
