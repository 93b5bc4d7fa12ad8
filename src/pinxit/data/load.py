"""`load_images`: decode the images of any source to one uint8 array, cached as a memory map."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.console import echo, pluralize
from pinxit.data import shape_choice
from pinxit.data.cache import CacheWriter, UnwritableCache, cache_dir, cache_key, load_cached
from pinxit.data.captions import note_several_captions
from pinxit.data.decoding.opening import ignore_pillow_warnings
from pinxit.data.decoding.set_facts import SetFacts
from pinxit.data.division import assign_by_names, divide
from pinxit.data.edit_pairs import join_pairs
from pinxit.data.formats import CAN_READ_AVIF, CAN_READ_HEIF
from pinxit.data.groups import MODES, NoGroups, describe_groups, describe_no_groups, index_groups
from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.keywords import keywords_by_language
from pinxit.data.labels import index_labels, number_labels
from pinxit.data.listing import Listing, list_source
from pinxit.data.load_options import LoadOptions, check_no_options, make_load_options
from pinxit.data.parallel_decode import decode_all, guess_conversion
from pinxit.data.record_columns import captions_by_language, more_captions_by_language
from pinxit.data.records import Source
from pinxit.data.selection import make_unique, select_rows
from pinxit.data.shape_choice import choose_shape, describe_unreadable
from pinxit.data.skipped import SkippedFile, summarize_skipped, without_system_files
from pinxit.data.sources import open_source
from pinxit.data.streams.plan import Finish, StreamPlan, plan_stream
from pinxit.data.text_choice import finish_texts
from pinxit.errors import PinxitError

Data = str | Path | Sequence[str | Path] | Images

FINGERPRINT_BATCH = 4_096  # images that are hashed at a time
LISTING_VERSION = 3  # increase it when other labels, texts or splits are read of a source
MAX_SKIPPED_SHOWN = 3
MIN_SAMPLE_SHARE = 1e-4  # of the usual number of images


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
    returned unchanged and take no options. Options are those of `LoadOptions`, as an object, as
    keywords or both: `load_images("photos/", size=64, limit=1000)`. Images that cannot be read are
    skipped and listed in `Images.skipped`. Decoded pixels are cached until the source changes.

    `Images.notes` says what was chosen and what is not used; it is printed, unless `progress` is
    False.

    Raises UsageError for an unknown source or option, PinxitError if nothing can be read.
    """
    options = make_load_options(options, **changes)
    if isinstance(source, Images):
        check_no_options(options)
        return source
    images = read_images(source, options, cache=cache, progress=progress)
    if progress:
        for note in images.notes:
            echo(f"{images.source}: {note}")
    return images


def read_images(
    source: str | Path | Sequence[str | Path],
    options: LoadOptions,
    *,
    cache: bool = True,
    progress: bool = True,
) -> Images:
    """Load images as `load_images` does, without printing the notes."""
    opened = _open(source, options)
    finish = functools.partial(finish_texts, options=options)
    plan = plan_stream(opened, options, progress)
    images = None if plan is None else _read_stream(plan, cache, progress, finish)
    if images is None:
        try:
            images = _read_all(opened, options, cache, progress)
        except shape_choice.TooManyPixels:
            plan = plan_stream(opened, options, progress, is_large=True)
            images = None if plan is None else _read_stream(plan, cache, progress, finish)
            if images is None:
                raise
        else:
            images = finish(_account_for_files(join_pairs(images), opened))
    if options.strict and (skipped := without_system_files(images.skipped)):
        raise PinxitError(f"cannot read {_describe_skipped(skipped, opened)}")
    if options.strict and images.losses:
        raise PinxitError(f"cannot use all of {opened.name}: {'; '.join(images.losses)}.")
    return images


def load_stream(
    source: str | Path | Sequence[str | Path], options: LoadOptions, *, progress: bool = True
) -> Images | None:
    """Return a sample with the stream of a source, None if it need not be streamed.

    Nothing but the sample is decoded.
    """
    plan = plan_stream(_open(source, options), options, progress)
    if plan is None:
        return None
    finish = functools.partial(finish_texts, options=options)
    return _read_stream(plan, cache=True, progress=progress, finish=finish)


def _open(source: str | Path | Sequence[str | Path], options: LoadOptions) -> Source:
    """Open a source with the size and the groups of the options."""
    opened = open_source(source, seed=options.seed)
    if opened.at_size is not None:
        opened = _keep_identity(opened.at_size(options.height_width), opened)
    if options.group_by not in MODES:
        opened = _group_by_column(opened, options.group_by)
    return opened


def _read_all(source: Source, options: LoadOptions, cache: bool, progress: bool) -> Images:
    read = _read_cached if cache and source.use_cache else _read
    return read(source, options, progress)


def _read_stream(plan: StreamPlan, cache: bool, progress: bool, finish: Finish) -> Images | None:
    """Return a sample of a source, with its stream; None if all images fit into the cache."""
    sample = plan.complete(_read_sample(plan, cache, progress))
    if plan.options.stream == "auto" and plan.count_bytes(sample) <= shape_choice.MAX_BYTES:
        return None
    sample = _account_for_files(sample, plan.sample())
    return plan.attach(finish(sample), finish)


def _read_sample(plan: StreamPlan, cache: bool, progress: bool) -> Images:
    """Return a sample of a source: of large images a smaller one."""
    share = 1.0
    while True:
        try:
            return _read_all(plan.sample(share), plan.options, cache, progress)
        except shape_choice.TooManyPixels as error:
            if share < MIN_SAMPLE_SHARE:
                raise
            share *= 0.9 / error.ratio


def _account_for_files(images: Images, source: Source) -> Images:
    """Return the images with the name and the notes of their source, and with all its files."""
    skipped = (*images.skipped, *source.list_unused())
    counts = images.file_counts
    if source.counts_files:
        counts = counts | {"skipped": sum(file.kind == "file" for file in skipped)}
    return dataclasses.replace(
        images,
        source=source.name,
        skipped=skipped,
        file_counts=counts,
        notes=(*source.notes, *images.notes, *summarize_skipped(skipped)),
    )


def _group_by_column(source: Source, column: str) -> Source:
    if source.with_groups is None:
        raise NoGroups(
            f"{source.name} has no columns to group by; group_by is 'auto', 'none' or 'burst'."
        )
    return _keep_identity(source.with_groups(column), source)


def _keep_identity(source: Source, original: Source) -> Source:
    return dataclasses.replace(source, name=original.name, notes=original.notes)


def _describe_skipped(skipped: Sequence[SkippedFile], source: Source) -> str:
    """`2 files of photos: a.png (truncated), b.jpg (the file is empty)`; `1 of 2 files: ...`."""
    count = len(skipped)
    files = [f"{file.name} ({file.reason})" for file in skipped[:MAX_SKIPPED_SHOWN]]
    rest = f" and {count - len(files):,} more" if count > len(files) else ""
    kinds = Counter(file.kind for file in skipped)
    number = " and ".join(pluralize(n, kind) for kind, n in kinds.items())
    number = f"{count:,}" if source.is_file_list else number
    return f"{number} of {source.name}: {', '.join(files)}{rest}"


# -- reading ---------------------------------------------------------------------------------------


def _read_cached(source: Source, options: LoadOptions, progress: bool) -> Images:
    shape = (options.height_width, options.fit, options.color, options.conversion)
    readable = (
        CAN_READ_AVIF,
        CAN_READ_HEIF,
    )  # else files are skipped
    selection = (options.limit, options.seed if options.limit else None)
    facts = (*shape, *selection, options.group_by, *readable, LISTING_VERSION)
    key = cache_key(source.compute_key(), *facts)
    images = load_cached(key)
    if images is not None:
        return images
    try:
        return _read_into_cache(source, options, progress, key, cache_dir())
    except UnwritableCache as error:
        echo(f"{error}\nUntil then the images are decoded again each time.")
        return _read_into_temporary(source, options, progress, key)


def _read_into_cache(
    source: Source, options: LoadOptions, progress: bool, key: str, root: Path
) -> Images:
    with CacheWriter(key, root, source.name) as writer:
        writer.commit(_read(source, options, progress, writer))
    images = load_cached(key, root)
    if images is None:
        raise PinxitError(f"the cache {root} changed while it was written; try again.")
    return images


def _read_into_temporary(source: Source, options: LoadOptions, progress: bool, key: str) -> Images:
    """Decode into a temporary folder, which is gone at once where a memory map outlives its file.

    Into memory if there is no such folder.
    """
    try:
        folder = tempfile.mkdtemp(prefix="pinxit-")
    except OSError:
        return _read(source, options, progress)
    try:
        return _read_into_cache(source, options, progress, key, Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if Path(folder).exists():  # Windows: a file that is mapped
            atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _read(
    source: Source, options: LoadOptions, progress: bool, writer: CacheWriter | None = None
) -> Images:
    """Decode a source: to a folder of the cache, or into memory if `writer` is None."""
    listing = _list_images(source)
    records, skipped = listing.records, listing.skipped
    labels, label_names = index_labels(records)
    groups = index_groups(records, options.group_by)
    is_explicit = options.group_by not in ("auto", "none") and not source.has_final_splits
    if groups is None and is_explicit:
        raise NoGroups(describe_no_groups(source.name, options.group_by))
    names = make_unique([record.name for record in records])
    source_splits = [record.split for record in records]
    if source.has_final_splits:
        splits = np.array([SPLITS.index(split or "train") for split in source_splits], np.int8)
    else:
        splits = assign_by_names(names, source_splits, groups)
    rows = select_rows(names, splits, options)
    with ignore_pillow_warnings():
        selected = [records[i] for i in rows]
        conversion = guess_conversion(selected, options.conversion)
        while True:
            shape, notes = choose_shape(source, selected, options, skipped, conversion)
            decoded_rows: list[int] = []
            unreadable: list[SkippedFile] = []
            facts = SetFacts(options.conversion)
            to = (decoded_rows, unreadable, facts)
            blocks = decode_all(source.name, records, rows, shape, *to, progress)
            if writer is not None:
                pixels = writer.write_pixels(blocks, len(rows), shape.dims)
            else:
                pixels = np.concatenate([np.empty((0, *shape.dims), np.uint8), *blocks])
            if (found := facts.conversion()) == conversion:
                break
            conversion = found  # of all images, beyond those that the guess was made from
    skipped += unreadable
    if not decoded_rows:
        raise PinxitError(describe_unreadable(source, skipped))
    notes += note_several_captions(selected)
    if groups is not None and not source.has_final_splits:  # a stream counts all of its groups
        notes.append(describe_groups(records, groups, options.group_by))
    notes += facts.notes(len(decoded_rows))
    captioned = [records[i] for i in decoded_rows]
    images = Images(
        pixels,
        names=[names[i] for i in decoded_rows],
        labels=None if labels is None else labels[decoded_rows],
        label_names=label_names,
        captions=captions_by_language(captioned),
        more_captions=more_captions_by_language(captioned),
        keywords=keywords_by_language(captioned),
        groups=None if groups is None else groups[decoded_rows],
        skipped=tuple(skipped),
        file_counts=listing.count_files(len(rows), len(decoded_rows))
        if source.counts_files
        else {},
        notes=(*listing.notes, *notes),
        losses=tuple(listing.losses),
        conversion=conversion.to_options(),
    )
    if source.has_final_splits:
        images = dataclasses.replace(images, splits=splits[decoded_rows])
        return dataclasses.replace(images, fingerprint=compute_fingerprint(images))
    images = divide(
        images,
        [source_splits[i] for i in decoded_rows],
        splits[decoded_rows],
        expected=np.unique(splits[splits != NO_SPLIT]).tolist(),
    )
    return dataclasses.replace(images, fingerprint=compute_fingerprint(images))


def _list_images(source: Source) -> Listing:
    listing = list_source(source)
    for note in number_labels((r.label_index, r.label) for r in listing.records).notes:
        listing.add(note)
    if not listing.records:
        skipped = without_system_files([*listing.skipped, *source.list_unused()])
        raise PinxitError(describe_unreadable(source, skipped))
    return listing


def compute_fingerprint(images: Images) -> str:
    """Return a hash of everything that a model can learn from; the same on any machine."""
    digest = hashlib.blake2b(repr(images.pixels.shape).encode(), digest_size=16)
    for start in range(0, len(images), FINGERPRINT_BATCH):
        batch = images.pixels[start : start + FINGERPRINT_BATCH]
        digest.update(np.ascontiguousarray(batch).data)
    for array in (images.labels, images.splits):
        digest.update(b"-" if array is None else array.tobytes())
    if images.groups is not None:
        digest.update(images.groups.tobytes())
    metadata = [list(images.names), list(images.label_names), images.captions]
    metadata += [images.more_captions] if images.more_captions else []
    metadata += [{"keywords": images.keywords}] if images.keywords else []
    digest.update(json.dumps(metadata, sort_keys=True).encode())
    return digest.hexdigest()
