"""`RecordRows`: the images of a source, listed but not decoded; batches are decoded one by one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int

from pinxit.data.decode import UnreadableImage
from pinxit.data.decoding.opening import ignore_pillow_warnings
from pinxit.data.decoding.set_facts import SetFacts
from pinxit.data.division import assign_by_names
from pinxit.data.groups import MODES, index_groups
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.keywords import keywords_by_language
from pinxit.data.labels import index_labels
from pinxit.data.load_options import LoadOptions
from pinxit.data.parallel_decode import ImageShape, decode_all, guess_conversion
from pinxit.data.record_columns import captions_by_language, more_captions_by_language
from pinxit.data.records import Record, Source
from pinxit.data.selection import make_unique, select_rows
from pinxit.data.shape_choice import describe_unreadable
from pinxit.data.skipped import SkippedFile, without_system_files
from pinxit.data.sources import open_source
from pinxit.data.text_choice import finish_texts
from pinxit.errors import PinxitError, UsageError

NUM_HASHED = 64  # decoded or undecoded images whose content is in the fingerprint
# files of a source that are read for the fingerprint, if they are no more and no larger in all
MAX_READ_FILES = 20_000
MAX_READ_BYTES = 256 << 20


@dataclass(frozen=True)
class RecordRows:
    """Images of a source in its order. What is known of them is in memory, their pixels are not.

    The splits are those by the names: copies of an image, which only pixels show, may be in
    different ones, unlike those of `load_images`.
    """

    source: str  # as the user typed it
    records: Sequence[Record]
    known: Images  # names, labels, captions and splits of all records; the pixels have no size
    shape: ImageShape
    skipped: tuple[SkippedFile, ...] = ()  # files that are no images
    has_pairs: bool = False  # images before and after an edit, which are to be joined
    source_splits: frozenset[str] = frozenset()  # those that the source names

    def __len__(self) -> int:
        return len(self.records)

    def read(
        self, rows: Int[np.ndarray, " n"], size: int, unreadable: list[SkippedFile]
    ) -> Iterator[tuple[Int[np.ndarray, " k"], Images]]:
        """Yield the places in `rows` of `size` images at a time, and these images.

        Images that cannot be decoded are left out, and appended to `unreadable`.
        """
        places: list[int] = []
        blocks: list[np.ndarray] = []
        count = 0
        with ignore_pillow_warnings():
            for block in self._decode(rows, places, unreadable):
                blocks.append(block)
                count += len(block)
                while count >= size:
                    pixels = np.concatenate(blocks)
                    yield self._take(rows, places[:size], pixels[:size])
                    del places[:size]
                    blocks, count = [pixels[size:].copy()], count - size
        if count:
            yield self._take(rows, places, np.concatenate(blocks))

    def _decode(
        self, rows: np.ndarray, places: list[int], unreadable: list[SkippedFile]
    ) -> Iterator[np.ndarray]:
        """Yield blocks of pixels, and append the places of their images in `rows`."""
        records = [self.records[i] for i in rows]
        facts = SetFacts(self.shape.conversion)
        order = range(len(records))
        return decode_all(
            self.source, records, order, self.shape, places, unreadable, facts, progress=False
        )

    def _take(
        self, rows: np.ndarray, places: Sequence[int], pixels: np.ndarray
    ) -> tuple[np.ndarray, Images]:
        at = np.array(places, np.int64)
        return at, dataclasses.replace(self.known.take(rows[at]), pixels=pixels)


def list_rows(data: str | Path | Sequence[str | Path], options: LoadOptions) -> RecordRows:
    """List the images of a source. Size and color of the options must be set.

    What the options leave open of the conversion of values is found from 16 images; else each
    image decides for itself. Raises UsageError for an unknown source, PinxitError if it has no
    image.
    """
    if options.height_width is None or options.color == "auto":
        raise UsageError("a source is listed for one size and one color.")
    source = _open(data, options)
    listed = list(source.list_records())
    records = [item for item in listed if isinstance(item, Record)]
    skipped = [item for item in listed if isinstance(item, SkippedFile)]
    skipped += source.list_unused()
    if not records:
        raise PinxitError(describe_unreadable(source, without_system_files(skipped)))
    names = make_unique([record.name for record in records])
    source_splits = [record.split for record in records]
    groups = index_groups(records, options.group_by)
    splits = assign_by_names(names, source_splits, groups)
    rows = select_rows(names, splits, options)
    labels, label_names = index_labels(records)
    chosen = [records[i] for i in rows]
    with ignore_pillow_warnings():
        conversion = guess_conversion(chosen, options.conversion)
    channels = 1 if options.color == "grey" else 3
    shape = ImageShape(*options.height_width, channels, options.fit, conversion)
    known = Images(
        np.empty((len(chosen), 0, 0, channels), np.uint8),
        names=[names[i] for i in rows],
        labels=None if labels is None else labels[rows],
        label_names=label_names,
        captions=captions_by_language(chosen),
        more_captions=more_captions_by_language(chosen),
        keywords=keywords_by_language(chosen),
        splits=splits[rows],
        source=source.name,
        conversion=conversion.to_options(),
    )
    known = finish_texts(known, options)
    return RecordRows(
        source.name,
        chosen,
        dataclasses.replace(known, fingerprint=_compute_fingerprint(chosen, known, shape)),
        shape,
        tuple(skipped),
        has_pairs=any(PurePosixPath(record.name).stem == "before" for record in chosen),
        source_splits=frozenset(split for split in source_splits if split),
    )


def _open(data: str | Path | Sequence[str | Path], options: LoadOptions) -> Source:
    source = open_source(data, seed=options.seed)
    name = source.name
    if source.at_size is not None:
        source = source.at_size(options.height_width)
    if options.group_by not in MODES and source.with_groups is not None:
        source = source.with_groups(options.group_by)
    return dataclasses.replace(source, name=name)


def _compute_fingerprint(records: Sequence[Record], known: Images, shape: ImageShape) -> str:
    """Return a hash of what is known of all images, and of their content.

    Files are read if they are few; of more, size and modification time are hashed instead. Images
    that are in no file, such as rendered ones, are known by some of them. It is the same on all
    machines that have the same source, with the same times if it is large.
    """
    facts = [repr(shape), list(known.label_names), sorted(known.captions)]
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    for array in (known.labels, known.splits):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    for i, name in enumerate(known.names):
        texts = [name, *(column[i] for column in known.captions.values())]
        digest.update(json.dumps(texts).encode())
    for i in evenly_spaced_indices(len(records), NUM_HASHED):
        digest.update(_read_content(records[i]))
    _hash_files(digest, {record.file: None for record in records if record.file is not None})
    return digest.hexdigest()


def _hash_files(digest: hashlib.blake2b, files: Iterable[Path]) -> None:
    """Hash the content of files, or sizes and times if they are many or large."""
    stats = [(file, _stat(file)) for file in files]
    size = sum(stat.st_size for _, stat in stats if stat)
    reads = len(stats) <= MAX_READ_FILES and size <= MAX_READ_BYTES
    for file, stat in stats:
        if stat is None:
            digest.update(b"-")
            continue
        digest.update(f"{stat.st_size} ".encode())
        digest.update(_hash_content(file) if reads else f"{stat.st_mtime_ns} ".encode())


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _hash_content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "blake2b").digest()
    except OSError:  # it is skipped, with its reason, when it is decoded
        return b"-"


def _read_content(record: Record) -> bytes:
    try:
        content = record.read()
    except (OSError, UnreadableImage):
        return b"-"
    if isinstance(content, bytes):
        return content
    return f"{content.shape} {content.dtype}".encode() + np.ascontiguousarray(content).tobytes()
