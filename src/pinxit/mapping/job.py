"""What one call computes: a model, the images, a task with its options, the folder of the output.

A `JobSpec` is sent to other machines; `open_job` reads the model and lists the images there.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.images import Images
from pinxit.data.skipped import SkippedFile
from pinxit.data.typed_json import decode_json
from pinxit.errors import PinxitError
from pinxit.mapping.output import Record, describe_difference, part_path
from pinxit.mapping.source import MappedImages, open_images
from pinxit.mapping.tasks import TASKS
from pinxit.nn.device import resolve_device
from pinxit.runs import FITTED_FILE, Run
from pinxit.sampling.exports import describe_rows
from pinxit.sampling.inputs import match_labels

if TYPE_CHECKING:
    import pyarrow as pa

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

    def part(self, block: int) -> Path:
        """Return the file of a block."""
        return part_path(self.out, block)


@dataclass(frozen=True)
class Job:
    """A job with its model and its images."""

    record: Record
    out: Path
    model: Any = field(repr=False)
    images: MappedImages = field(repr=False)

    def block_rows(self, block: int) -> slice:
        """Return the images of a block, as a range of the selected ones."""
        size = self.record.block_size
        return slice(block * size, min(len(self.images), (block + 1) * size))

    def tables(
        self, selected: slice, unreadable: list[SkippedFile] | None = None
    ) -> Iterator[pa.Table]:
        """Yield a table per batch of a range of images: what is known of each, and the results.

        Images that cannot be read are left out, and appended to `unreadable`.
        """
        unreadable = [] if unreadable is None else unreadable
        task, options = TASKS[self.record.task], self.record.options
        for places, images in self.images.read(selected, task.batch_images(options), unreadable):
            # a result that depends on an image's number needs numbers without gaps
            parts = _find_runs(places) if task.uses_number(options) else [slice(None)]
            for part in parts:
                yield self._table(places[part], images if part == slice(None) else images[part])

    def _table(self, places: np.ndarray, images: Images) -> pa.Table:
        import pyarrow as pa

        rows = self.images.rows[places]
        columns: dict[str, Any] = {"row": pa.array(rows, pa.int64())}
        for name, texts in describe_rows(images).items():
            columns[name] = pa.array(texts, pa.string())
        if not len(images.names):
            columns["name"] = pa.array([str(i) for i in rows], pa.string())
        matched = match_labels(self.model, images)
        task = TASKS[self.record.task]
        columns |= task.compute(self.model, matched, int(places[0]), self.record.options)
        return pa.table(columns)

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Columns of the parts, from the first image that can be read.

        Raises PinxitError if there is none.
        """
        unreadable: list[SkippedFile] = []
        for i in range(len(self.images)):
            for table in self.tables(slice(i, i + 1), unreadable):
                return table.schema
        if unreadable:
            raise PinxitError(
                f"no image of {self.record.source} can be read: {unreadable[0].name} "
                f"({unreadable[0].reason})."
            )
        raise PinxitError(f"there is no image in {self.record.source}.")


def _find_runs(places: np.ndarray) -> list[slice]:
    """Return the parts of increasing numbers that have no gaps."""
    starts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    return [slice(a, b) for a, b in itertools.pairwise(starts)]


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


@functools.lru_cache(maxsize=1)
def open_job(spec: JobSpec) -> Job:
    """Read the model and list the images of a job, once in a process.

    Raises PinxitError if they are not those of the record.
    """
    from pinxit.models.abilities import require

    run, record = Run(spec.run), Record.from_json(decode_json(spec.record), "the job")
    found_model = hash_model(run)
    model = require(run.load(resolve_device(spec.device)), record.task)
    images = open_images(run, spec.data, spec.split, progress=False)
    found = record.of(model=found_model, fingerprint=images.fingerprint, images=len(images))
    if found != record:
        raise PinxitError(
            f"a worker has another model or other images than the first process: "
            f"{describe_difference(record, found)}. RUN and DATA must be the same on all machines."
        )
    return Job(record, spec.out, model, images)
