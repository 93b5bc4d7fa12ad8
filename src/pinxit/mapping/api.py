"""`map_images`: a finished model over all images of a source, to a folder of Parquet files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pinxit import console
from pinxit.data.home_folder import expand_home
from pinxit.data.images import Images
from pinxit.data.skipped import without_system_files
from pinxit.errors import UsageError
from pinxit.extras import require_extra
from pinxit.mapping.blocks import (
    check_engine,
    check_parts,
    compute_here,
    parse_shard,
    record_skipped,
)
from pinxit.mapping.job import Job, JobSpec, hash_model
from pinxit.mapping.output import (
    Record,
    finish_output,
    mark_unfinished,
    missing_blocks,
    prepare_output,
)
from pinxit.mapping.source import of_images, open_images
from pinxit.mapping.tasks import resolve_options
from pinxit.nn.device import resolve_device
from pinxit.runs import Run

Engine = Literal["local", "ray"]
BLOCK_SIZE = 4_096  # images


@dataclass(frozen=True)
class MapResult:
    """What a call did, and what the folder holds now."""

    path: Path
    images: int  # of the whole output, but for those of `skipped` that cannot be decoded
    blocks: int  # of the whole output
    computed: int  # blocks that this call computed
    missing: int  # blocks that have no part yet
    skipped: int  # files and records that could not be read so far

    @property
    def is_complete(self) -> bool:
        return self.missing == 0

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "path": str(self.path), "complete": self.is_complete}


def map_images(
    run: Run,
    task: str,
    data: Sequence[str] | Images = (),
    *,
    out: str | Path,
    split: str = "all",
    shard: str | None = None,
    engine: Engine = "local",
    address: str | None = None,
    block_size: int = BLOCK_SIZE,
    device: str = "auto",
    model: Any = None,
    progress: bool = True,
    options: Mapping[str, Any] | None = None,
) -> MapResult:
    """Apply a run's model to all images of DATA, or of the run's own data.

    Writes a Parquet file per block of `block_size` images to the folder `out`, each image once. A
    call with the same arguments goes on where one was interrupted. `shard` i/n takes every n-th
    block from i on, counted from 0; the engine `ray` computes on the cluster at `address`.

    Raises UsageError for invalid arguments and for an `out` that holds something else, PinxitError
    if the model lacks the ability, or if the cluster cannot be reached or loses all its workers.
    """
    resolved = resolve_options(task, options or {})
    index, number = (0, 1) if shard is None else parse_shard(shard)
    if block_size < 1:
        raise UsageError(f"block_size must be 1 or more, not {block_size}.")
    check_engine(engine, address)
    require_extra("parquet", "a folder of Parquet files")
    if engine == "ray":
        require_extra("ray", "engine ray", "give each machine a shard i/n")
        if isinstance(data, Images):
            raise UsageError("engine ray reads DATA on each worker: give its name, not Images.")
    from pinxit.models.abilities import require

    out = expand_home(out)
    folder = out.absolute()
    if not isinstance(data, Images):
        check_outside(folder, data or own_sources(run))
    with contextlib.ExitStack() as stack:
        if engine == "ray":  # before anything is written: there may be no cluster
            from pinxit.mapping.ray_blocks import connect

            stack.enter_context(connect(address, device))
        # before the weights are read: a training that goes on meanwhile shows as another model
        fingerprint = hash_model(run)
        if model is None:  # workers may have devices that this machine has not
            model = run.load(resolve_device("auto" if engine == "ray" else device))
        model = require(model, task)
        if task == "score":
            from pinxit.sampling.scores import check_score_options  # imports torch

            given = options or {}
            check_score_options(model, given.get("samples"), given.get("seed"))
        if isinstance(data, Images):
            images = of_images(data, split)
        else:
            images = open_images(run, data, split, progress=progress)
        record = Record(
            task=task,
            model=fingerprint,
            fingerprint=images.fingerprint,
            split=split,
            images=len(images),
            block_size=block_size,
            options=resolved,
            run=str(run.path),
            source=images.source,
            pinxit=version("pinxit"),
        )
        job = Job(record, folder, model, images)
        spec = None
        if engine == "ray":
            assert not isinstance(data, Images), "checked above"
            text = json.dumps(record.to_json())
            names = absolute_paths(data)
            spec = JobSpec(run.path.absolute(), names, split, folder, device, text)
        return _run(job, spec, out, (index, number), address, progress)


def check_outside(out: Path, data: Sequence[str]) -> None:
    """Raise UsageError if the output is in a folder of DATA: the next call would read it."""
    for name in data:
        source = expand_home(name)
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise UsageError(
                f"{out} is in {name}, which is DATA: the next call would read its files as data.\n"
                "Choose an --out outside of it."
            )


def own_sources(run: Run) -> tuple[str, ...]:
    """Return the names of the run's own data."""
    record = run.config.get("data") or {}
    source = record.get("files") or record.get("source") or ()
    return (source,) if isinstance(source, str) else tuple(source)


def _run(
    job: Job,
    spec: JobSpec | None,
    out: Path,
    shard: tuple[int, int],
    address: str | None,
    progress: bool,
) -> MapResult:
    """Compute the missing blocks of a shard: on the cluster if there is a `spec`."""
    _ = job.schema  # computes one image: errors of options and images come before anything is made
    record, skipped = job.record, without_system_files(job.images.skipped)
    prepare_output(job.out, record)
    blocks = range(shard[0], record.num_blocks, shard[1])
    check_parts(job.out, job, blocks)
    missing = missing_blocks(job.out, blocks)
    mark_unfinished(job.out, record)  # a part may have been removed
    done = _compute(job, spec, address, missing)
    total = sum(s.stop - s.start for s in map(job.block_rows, missing))
    computed = sum(1 for _ in console.track(done, total, record.task, progress))
    unreadable = record_skipped(job, skipped)
    left = finish_output(job.out, record)
    return MapResult(
        out,
        images=record.images - len(unreadable),
        blocks=record.num_blocks,
        computed=computed,
        missing=left,
        skipped=len(skipped) + len(unreadable),
    )


def _compute(
    job: Job, spec: JobSpec | None, address: str | None, blocks: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    if spec is None or not blocks:
        return compute_here(job, blocks)
    from pinxit.mapping.ray_blocks import compute_on_ray

    return compute_on_ray(spec, blocks, address)


def absolute_paths(data: Sequence[str]) -> tuple[str, ...]:
    """Return DATA with absolute paths, for processes that run in another folder."""
    return tuple(str(Path(name).absolute()) if Path(name).exists() else name for name in data)
