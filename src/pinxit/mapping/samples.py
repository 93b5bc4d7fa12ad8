"""`sample_shards`: any number of new images as WebDataset shards, which are DATA for training.

Shard k holds the images from k x shard_size on. Image i depends on the model, the options and i
only, so a shard has the same bytes whenever and wherever it is written. It gets its name when it is
complete, and the same call writes those that are missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from pinxit import console
from pinxit.data.atomic_write import open_atomically, remove_unfinished
from pinxit.data.home_folder import expand_home
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.data.records import Record
from pinxit.data.shards.manifest import LOCK, Manifest, ShardInfo, check_output, read_manifest
from pinxit.data.shards.sample_files import sample_files
from pinxit.data.shards.split_counts import ShardCount
from pinxit.data.shards.write import ChecksumFile, describe_shard, shard_name
from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra
from pinxit.mapping.blocks import check_engine, parse_shard
from pinxit.mapping.job import hash_model
from pinxit.models.generation import GenerationParams, SamplesFromCaptions, SamplesFromLabels
from pinxit.models.inputs import LABEL_STREAM
from pinxit.nn.device import resolve_device
from pinxit.nn.rng import mix_seed, per_image_seeds
from pinxit.runs import Run
from pinxit.sampling.inputs import is_label_conditional

SHARD_SIZE = 1_024  # images: a multiple of the batch that models pad to
Written = tuple[ShardInfo, ShardCount]  # a shard, and what readers find in it
LOCK_SECONDS = 60.0  # that another process may take to write the manifest


@dataclass(frozen=True)
class SampleSpec:
    """What is generated, in words: everything by which another process does the same."""

    run: Path  # absolute
    model: str  # hash of the model, which must be the same on all machines
    out: Path
    num_images: int
    shard_size: int
    label: str | None
    params: GenerationParams
    device: str

    @property
    def num_shards(self) -> int:
        return -(-self.num_images // self.shard_size)

    def part(self, block: int) -> Path:
        """Return the file of a shard."""
        return self.out / shard_name(block)

    def count(self, block: int) -> int:
        """Return the number of images of a shard."""
        return min(self.shard_size, self.num_images - block * self.shard_size)

    def plan(self) -> Manifest:
        """Return the manifest of an output that has no shard yet."""
        options = self.params.overrides() | ({"label": self.label} if self.label else {})
        facts = json.dumps([self.model, options, *self._label_facts()], sort_keys=True)
        key = hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()
        words = "".join(f", {name} {value}" for name, value in sorted(options.items()))
        source = f"samples of {self.run.name}{words}"
        return Manifest(source, key, self.shard_size, self.num_images, has_groups=False)

    def _label_facts(self) -> list[str]:
        """Return how labels are chosen where none is given: shards of another way do not mix."""
        is_conditional = Run(self.run).config["model"].get("condition") == "label"
        return ["labels as the model chooses them"] if is_conditional and not self.label else []


@dataclass(frozen=True)
class SampleResult:
    """What a call did, and what the folder holds now."""

    path: Path
    images: int  # of the whole output
    shards: int  # of the whole output
    computed: int  # shards that this call wrote
    missing: int  # shards that are not there yet

    def to_json(self) -> dict[str, Any]:
        complete = self.missing == 0
        return {**dataclasses.asdict(self), "path": str(self.path), "complete": complete}


def sample_shards(
    run: Run,
    num_images: int,
    out: str | Path,
    *,
    label: str | None = None,
    params: GenerationParams = GenerationParams(),  # noqa: B008 (frozen)
    shard_size: int = SHARD_SIZE,
    shard: str | None = None,
    engine: str = "local",
    address: str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> SampleResult:
    """Generate images into a folder of WebDataset shards with a manifest.

    A model of labels draws a label for each image, unless `label` is given: a flow as often as in
    its training, as in `sample`, others all with equal probability. It is in the shard, and so is
    the caption of which a flow of captions generates an image.
    A call with the same arguments goes on where one was interrupted. `shard` i/n takes every n-th
    shard from i on, counted from 0; the engine `ray` computes on the cluster at `address`.

    Raises UsageError for invalid arguments and for an `out` that holds something else, PinxitError
    if the model cannot sample, or if the cluster cannot be reached or loses all its workers.
    """
    index, number = (0, 1) if shard is None else parse_shard(shard)
    for name, value in (("num_images", num_images), ("shard_size", shard_size)):
        if value < 1:
            raise UsageError(f"{name} must be 1 or more, not {value}.")
    if not isinstance(params.seed, int):
        raise UsageError("shards are generated from one seed.")
    check_engine(engine, address)
    if engine == "ray":
        require_extra("ray", "engine ray", "give each machine a shard i/n")
    with contextlib.ExitStack() as stack:
        if engine == "ray":  # before anything is written: there may be no cluster
            from pinxit.mapping.ray_blocks import connect

            stack.enter_context(connect(address, device))
        here = "auto" if engine == "ray" else device  # workers may have devices that this one lacks
        spec = SampleSpec(
            run.path.absolute(), hash_model(run), expand_home(out).absolute(),
            num_images, shard_size, label, params, device,
        )  # fmt: skip
        model = _load_model(spec, here)
        next(generate(model, spec, 0, 1))  # errors of options come before anything is made
        _prepare(spec)
        missing = [i for i in _missing(spec) if i % number == index]
        computed = 0
        for written in _compute(model, spec, missing, engine, address, progress):
            _record(spec, written)
            computed += 1
    left = len(_record(spec))
    return SampleResult(expand_home(out), num_images, spec.num_shards, computed, left)


def _compute(
    model: Any,
    spec: SampleSpec,
    missing: Sequence[int],
    engine: str,
    address: str | None,
    progress: bool,
) -> Iterator[Written]:
    """Write shards, here or on the cluster, and yield them as they are done."""
    total = sum(map(spec.count, missing))
    if engine == "ray" and missing:
        from pinxit.mapping.ray_blocks import compute_on_ray

        done = compute_on_ray(spec, missing, address, compute_on_worker)
        for result in console.track(done, total, "sample", progress):
            yield result.facts
        return
    here = ((spec.count(i), write_shard(model, spec, i)) for i in missing)
    yield from console.track(here, total, "sample", progress)


def compute_on_worker(spec: SampleSpec, block: int) -> Any:
    """Write a shard, on a worker. Errors of pinxit are returned: they are final."""
    from pinxit.mapping.ray_blocks import BlockResult, host_name

    try:
        written = write_shard(_open(spec), spec, block)
        return BlockResult(spec.count(block), host=host_name(), facts=written)
    except PinxitError as error:
        return BlockResult(0, str(error), error.exit_code, host_name())


@functools.lru_cache(maxsize=1)
def _open(spec: SampleSpec) -> Any:
    """Load the model of a worker, once in a process. Raises PinxitError if it is another one."""
    if hash_model(Run(spec.run)) != spec.model:
        raise PinxitError(
            f"a worker has another model than the first process in {spec.run}.\n"
            "RUN must be the same on all machines."
        )
    return _load_model(spec, spec.device)


def _load_model(spec: SampleSpec, device: str) -> Any:
    from pinxit.models.abilities import require

    return require(Run(spec.run).load(resolve_device(device)), "sample")


# -- images ----------------------------------------------------------------------------------------


def write_shard(model: Any, spec: SampleSpec, block: int) -> Written:
    """Write a shard; it appears when it is complete."""
    path, first, count = spec.part(block), block * spec.shard_size, spec.count(block)
    file = None
    try:
        with open_atomically(path) as raw:
            file = ChecksumFile(raw)
            with tarfile.open(mode="w|", fileobj=file) as tar:  # type: ignore[call-overload]
                for index, pixels, record in generate(model, spec, first, count):
                    for name, data in sample_files(f"{index:08d}", record, pixels):
                        member = tarfile.TarInfo(name)
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
    except FileNotFoundError:
        if not path.exists():  # else another process wrote it, and removed what was unfinished
            raise
    assert file is not None, "opened"
    return describe_shard(spec.out, shard_name(block), count, file)


def generate(
    model: Any, spec: SampleSpec, first: int, count: int
) -> Iterator[tuple[int, np.ndarray, Record]]:
    """Yield the number of each image from `first` on, its pixels, and what is known about it."""
    info = model.info
    blank = Images(np.empty((0, info.height, info.width, info.channels), np.uint8))
    size = ImageRows.of(blank).batch_size()
    for start in range(first, first + count, size):
        number = min(size, first + count - start)
        params = dataclasses.replace(spec.params, start=spec.params.start + start)
        labels = _choose_labels(model, spec, params, number)
        images = _sample(model, params, number, labels)
        captions: Sequence[Mapping[str, str]] = [{}] * number
        own_labels: Sequence[str | None] = labels or [None] * number
        if labels is None and isinstance(model, SamplesFromCaptions):
            texts = model.captions_of_samples(number, params)
            captions = [{language: text} if text else {} for text, language in texts] or captions
        if labels is None and isinstance(model, SamplesFromLabels):
            own_labels = model.labels_of_samples(number, params) or own_labels
        for i, pixels in enumerate(images.pixels):
            label, name = own_labels[i], f"{start + i:08d}.png"
            yield (
                start + i,
                pixels,
                Record(name, lambda own=pixels: own, label=label, captions=dict(captions[i])),
            )


def _choose_labels(
    model: Any, spec: SampleSpec, params: GenerationParams, count: int
) -> list[str] | None:
    """Return the label of each image: the given one, or one drawn by the image's own seed.

    None for a model without labels, and for one that chooses them itself.
    """
    if spec.label is not None:
        return [spec.label] * count
    if not is_label_conditional(model):
        return None
    names = model.info.label_names
    if isinstance(model, SamplesFromLabels) and model.labels_of_samples(1, params) is not None:
        return None
    seeds = per_image_seeds(params.seed, count, params.start)
    return [names[mix_seed(seed, LABEL_STREAM) % len(names)] for seed in seeds]


def _sample(
    model: Any, params: GenerationParams, count: int, labels: Sequence[str] | None
) -> Images:
    """Generate images; those of each label in one call, each with its own seed."""
    if labels is None:
        return model.sample(count, params)
    seeds = per_image_seeds(params.seed, count, params.start)
    info = model.info
    pixels = np.empty((count, info.height, info.width, info.channels), np.uint8)
    for label in dict.fromkeys(labels):
        rows = [i for i, own in enumerate(labels) if own == label]
        own = dataclasses.replace(params, seed=[seeds[i] for i in rows], start=0)
        pixels[rows] = model.sample(len(rows), own, label=label).pixels
    return Images(pixels)


# -- the folder ------------------------------------------------------------------------------------


def _prepare(spec: SampleSpec) -> None:
    """Write the manifest of a new output. Raises UsageError for a folder of something else."""
    _read_output(spec)
    spec.out.mkdir(parents=True, exist_ok=True)
    with _lock(spec.out):
        if _read_output(spec) is None:
            spec.plan().write(spec.out)


def _read_output(spec: SampleSpec) -> Manifest | None:
    """Return the manifest, None of a new folder. Raises UsageError if it holds something else."""
    planned = spec.plan()
    found = read_manifest(spec.out) if spec.out.is_dir() else None
    if found is None or found.has_origin_of(planned):
        return check_output(spec.out, planned)
    if found.key != planned.key:
        what = f"{found.source}" if found.source != planned.source else "of another model"
    elif found.records != planned.records:
        what = f"{console.pluralize(found.records, 'image')}, not {planned.records:,}"
    else:
        what = f"{found.per_shard:,} images a shard, not {planned.per_shard:,}"
    raise UsageError(
        f"{spec.out} already has other shards ({what}).\nChoose another folder, or remove it."
    )


def _missing(spec: SampleSpec) -> list[int]:
    """Return the shards that are not there, or not as the manifest has them."""
    manifest = read_manifest(spec.out)
    known = {} if manifest is None else {info.name: info for info in manifest.shards}
    return [i for i in range(spec.num_shards) if not _is_complete(spec, known, i)]


def _is_complete(spec: SampleSpec, known: Mapping[str, ShardInfo], block: int) -> bool:
    info = known.get(shard_name(block))
    try:
        return info is not None and spec.part(block).stat().st_size == info.bytes
    except OSError:
        return False


def _record(spec: SampleSpec, written: Written | None = None) -> list[int]:
    """Add a shard to the manifest, and return those that are missing. Several processes may do it.

    Raises UsageError if the folder has become another output.
    """
    with _lock(spec.out):
        manifest = found = _read_output(spec) or spec.plan()
        known = {info.name: info for info in manifest.shards}
        if written is not None:
            info, count = written
            known[info.name], manifest = info, manifest.add(count)
        missing = [i for i in range(spec.num_shards) if not _is_complete(spec, known, i)]
        shards = tuple(known[name] for name in sorted(known))
        updated = dataclasses.replace(manifest, shards=shards, finished=not missing)
        if updated != found:
            updated.write(spec.out)
        if not missing:
            remove_unfinished(spec.out)  # of processes that were killed
    return missing


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK, timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise PinxitError(f"another process holds {folder / LOCK}; wait for it.") from None
    try:
        yield
    finally:
        lock.release()
