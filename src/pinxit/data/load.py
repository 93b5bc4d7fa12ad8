"""`load_images`: whatever DATA is, to pixels in memory-mapped uint8, once."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.console import echo
from pinxit.data import cache as kept
from pinxit.data.decode import (
    UnreadableImage,
    decode,
    ignore_pillow_warnings,
    is_grey,
    read_size,
)
from pinxit.data.edit_pairs import join_pairs, pair_key
from pinxit.data.images import Images, SkippedFile
from pinxit.data.label_captions import captions_from_labels
from pinxit.data.labels import index_labels
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.data.parallel_decode import ImageShape, decode_all
from pinxit.data.records import Record, Source
from pinxit.data.sizes import choose_size, format_size
from pinxit.data.sources import open_source
from pinxit.data.splits import assign_splits, ensure_training_split, hash_fraction
from pinxit.errors import PinxitError

Data = str | Path | Sequence[str | Path] | Images

# Decoded pixels are kept as one array. Beyond this many bytes a source must be read as a stream
# of shards; this function is the place where such a reader would take over.
MAX_BYTES = 16 << 30
SAMPLE = 1_024  # images that are looked at to choose a size and grey or colour


def load_images(
    source: Data,
    options: LoadOptions | Mapping[str, Any] | None = None,
    *,
    cache: bool = True,
    progress: bool = True,
    **changes: Any,
) -> Images:
    """Load the images of a source, with their labels, captions and splits.

    `source` is anything that `pinxit sources` lists, a list of image files, or `Images`, which are
    returned unchanged. Options are those of `LoadOptions`, as an object, as keywords or both:
    `load_images("photos/", size=64, limit=1000)`. Images that cannot be read are skipped and listed
    in `Images.skipped`. Decoded pixels are cached until the source changes.

    Raises UsageError for an unknown source or option, PinxitError if nothing can be read.
    """
    options = make_load_options(options, **changes)
    if isinstance(source, Images):
        return source
    opened = open_source(source, seed=options.seed)
    if opened.at_size is not None:
        opened = opened.at_size(options.height_width)
    images = _from_cache(opened, options, progress) if cache and opened.use_cache else None
    images = images or _read(opened, options, progress)
    images = join_pairs(dataclasses.replace(images, source=opened.name))
    if options.captions is not None:
        file = None if options.captions == "labels" else options.captions
        images = captions_from_labels(images, file)
    if images.skipped and options.strict:
        raise PinxitError(skipped_summary(images))
    if images.skipped and progress:
        echo(skipped_summary(images))
    return images


def skipped_summary(images: Images, most: int = 3) -> str:
    """`2 images of photos left out: a.png (truncated), b.jpg (the file is empty)`."""
    left = images.skipped
    some = ", ".join(f"{item.name} ({item.reason})" for item in left[:most])
    more = f" and {len(left) - most:,} more" if len(left) > most else ""
    one = "1 image" if len(left) == 1 else f"{len(left):,} images"
    return f"{one} of {images.source} left out: {some}{more}"


def _from_cache(source: Source, options: LoadOptions, progress: bool) -> Images:
    limited = (options.limit, options.seed if options.limit else None)
    shape = (options.height_width, options.fit, options.color)
    key = kept.cache_key(source.compute_key(), *shape, *limited)
    images = kept.load_cached(key)
    if images is None:
        with kept.CacheWriter(key) as folder:
            folder.keep(_read(source, options, progress, folder))
        images = kept.load_cached(key)
        if images is None:
            raise PinxitError(f"{kept.cache_dir()} was changed while it was written; try again.")
    return images


def _read(
    source: Source, options: LoadOptions, progress: bool, folder: kept.CacheWriter | None = None
) -> Images:
    records, skipped = _listed(source)
    labels, label_names = index_labels(records)
    names = _unique([record.name for record in records])
    rows = _limited(names, options)
    with ignore_pillow_warnings():
        shape, notes = _chosen(source, [records[i] for i in rows], options, skipped)
        if progress:
            for note in notes:
                echo(f"{source.name}: {note}")
        good: list[int] = []
        blocks = decode_all(source.name, records, rows, shape, good, skipped, progress)
        if folder is not None:
            pixels = folder.write_pixels(blocks, len(rows), shape.dims)
        else:
            pixels = np.concatenate([np.empty((0, *shape.dims), np.uint8), *blocks])
    if not good:
        raise PinxitError(_nothing(source, skipped))
    given = [record.split for record in records]
    splits = ensure_training_split(assign_splits(names, given)[good], given)
    images = Images(
        pixels,
        names=[names[i] for i in good],
        labels=None if labels is None else labels[good],
        label_names=label_names,
        captions=_captions([records[i] for i in good]),
        splits=splits,
        skipped=tuple(skipped),
        notes=tuple(notes),
    )
    return dataclasses.replace(images, fingerprint=_fingerprint(images))


def _listed(source: Source) -> tuple[list[Record], list[SkippedFile]]:
    records, skipped = [], []
    for item in source.list_records():
        (records if isinstance(item, Record) else skipped).append(item)
    if not records:
        raise PinxitError(_nothing(source, skipped))
    return records, skipped


def _nothing(source: Source, skipped: Sequence[SkippedFile]) -> str:
    if not skipped:
        return f"there is no image in {source.name}."
    first = skipped[0]
    return f"no image of {source.name} can be read: {first.name} ({first.reason})" + (
        f" and {len(skipped) - 1:,} more." if len(skipped) > 1 else "."
    )


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) == len(names):
        return names
    taken = set(names)
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        number = seen.get(name, 0) + 1
        given = name
        while number > 1 and (given := f"{name}#{number}") in taken:
            number += 1
        seen[name] = number
        taken.add(given)
        unique.append(given)
    return unique


def _limited(names: list[str], options: LoadOptions) -> list[int]:
    """The rows to read: all, or the `limit` whose names' chances are smallest, in their order."""
    if options.limit is None or options.limit >= len(names):
        return list(range(len(names)))
    chances = [hash_fraction(pair_key(name), f"limit {options.seed}") for name in names]
    return sorted(heapq.nsmallest(options.limit, range(len(names)), key=chances.__getitem__))


def _chosen(
    source: Source, records: Sequence[Record], options: LoadOptions, skipped: list[SkippedFile]
) -> tuple[ImageShape, list[str]]:
    """The shape that images become, and lines that say what was chosen."""
    notes: list[str] = []
    sample = [records[i] for i in _spread(len(records))]
    size = options.height_width
    if size is None:
        sizes = [found for record in sample if (found := _measured(record)) is not None]
        if not sizes:
            sizes = [found for record in records if (found := _measured(record)) is not None][:1]
        if not sizes:
            reasons = [*skipped, *(r for rec in records[:1] if (r := _reason(rec)) is not None)]
            raise PinxitError(_nothing(source, reasons))
        size, note = choose_size(sizes)
        notes += [note] if note else []
    channels = {"grey": 1, "rgb": 3}.get(options.color) or (1 if _all_grey(sample, size) else 3)
    shape = ImageShape(*size, channels, options.fit)
    total = len(records) * int(np.prod(shape.dims))
    if total > MAX_BYTES:
        raise PinxitError(
            f"{source.name} has {len(records):,} images: at {format_size(size)} they take "
            f"{total / 2**30:.1f} GiB, more than the {MAX_BYTES >> 30} that are kept. "
            "A smaller --size or a --limit takes less."
        )
    return shape, notes


def _spread(count: int, runs: int = 16) -> list[int]:
    """Rows to look at: all of few, else runs of neighbours (which sources read fast together)."""
    if count <= SAMPLE:
        return list(range(count))
    starts = np.linspace(0, count - SAMPLE // runs, runs).astype(int)
    return sorted({int(s) + i for s in starts for i in range(SAMPLE // runs)})


def _measured(record: Record) -> tuple[int, int] | None:
    try:
        return read_size(record.read)
    except UnreadableImage:
        return None


def _reason(record: Record) -> SkippedFile | None:
    try:
        read_size(record.read)
    except UnreadableImage as error:
        return SkippedFile(record.name, str(error))
    return None


def _all_grey(sample: Sequence[Record], size: tuple[int, int]) -> bool:
    small = min(size[0], 32), min(size[1], 32)  # enough to see colour, and quick

    def grey(record: Record) -> bool:
        try:
            return is_grey(decode(record.read, *small, 3, "crop"))
        except UnreadableImage:
            return True

    step = max(1, len(sample) // 256)
    return all(grey(record) for record in sample[::step])


def _captions(records: Sequence[Record]) -> dict[str, Sequence[str]]:
    languages = sorted({language for record in records for language in record.captions})
    return {k: [record.captions.get(k, "") for record in records] for k in languages}


def _fingerprint(images: Images) -> str:
    """Of everything that a model could learn from, the same on any machine."""
    digest = hashlib.blake2b(repr(images.pixels.shape).encode(), digest_size=16)
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images.pixels[start : start + 4096]).data)
    for array in (images.labels, images.splits):
        digest.update(b"-" if array is None else array.tobytes())
    known = [list(images.names), list(images.label_names), images.captions]
    digest.update(json.dumps(known, sort_keys=True).encode())
    return digest.hexdigest()
