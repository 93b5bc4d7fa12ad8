"""What is known about images: counts, labels, captions, and the files that are not used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pinxit.console import pluralize
from pinxit.data.annotations import describe_annotations
from pinxit.data.images import Images
from pinxit.data.keywords import count_keywords
from pinxit.data.skipped import files_without_names
from pinxit.data.split_names import SPLITS

MAX_LABELS_SHOWN = 20
MAX_SKIPPED_SHOWN = 20
MAX_KEYWORDS_SHOWN = 5


def describe(images: Images) -> dict[str, Any]:
    """Return what is known about images, as JSON can hold it."""
    return {
        "source": images.source,
        "num_images": len(images),
        "height": images.height,
        "width": images.width,
        "channels": images.channels,
        "splits": images.count_splits(),
        "labels": count_labels(images),
        "captions": {
            language: sum(map(bool, captions)) for language, captions in images.captions.items()
        },
        "keywords": count_keywords(images),
        "annotations": describe_annotations(images),
        "files": images.file_counts,
        "skipped": [{"name": file.name, "reason": file.reason} for file in images.skipped],
        "notes": list(images.notes),
        "fingerprint": images.fingerprint,
        **_describe_stream(images),
    }


def _describe_stream(images: Images) -> dict[str, Any]:
    """Return the numbers of a stream, of which the images are a sample; {} for other images."""
    stream = images.stream
    if stream is None:
        return {}
    splits = {name: stream.count(name) for name in SPLITS if stream.count(name)}
    counts = {"images": stream.count("all"), "shards": stream.num_shards, "splits": splits}
    return {"stream": counts}


def count_labels(images: Images) -> dict[str, int]:
    """Return the number of images of each label, `(none)` last; {} for images without labels."""
    if images.labels is None:
        return {}
    counts = {name: int((images.labels == i).sum()) for i, name in enumerate(images.label_names)}
    unlabeled = int((images.labels < 0).sum())
    return counts | ({"(none)": unlabeled} if unlabeled else {})


def description_lines(images: Images) -> Iterator[str]:
    """Yield what is known about images, as lines of text."""
    color = "grey" if images.channels == 1 else "RGB"
    size = f"{images.width} x {images.height}"
    sample = " (a sample)" if images.stream else ""
    yield f"{images.source}: {pluralize(len(images), 'image')}{sample}, {size}, {color}"
    for note in images.notes:
        yield f"  {note}"
    yield f"  {describe_annotations(images)}"
    if images.file_counts:
        yield f"  files: {_join_counts(images.file_counts)}"
    yield f"  splits: {_join_counts(images.count_splits())}"
    if labels := count_labels(images):
        yield f"  labels ({len(images.label_names):,}): {_join_counts(labels)}"
    for language, captions in images.captions.items():
        count = sum(bool(caption) for caption in captions)
        example = next((caption for caption in captions if caption), "")
        yield f'  captions ({language}): {count:,}, for example "{example}"'
    for language, keywords in images.keywords.items():
        example = ", ".join(next(filter(None, keywords), ())[:MAX_KEYWORDS_SHOWN])
        count = pluralize(sum(map(bool, keywords)), "image")
        yield f'  keywords ({language}): {count}, for example "{example}"'
    if unnamed := files_without_names(images.skipped):
        yield f"  skipped: {len(images.skipped):,}, of which the lines above do not name"
        shown = unnamed[:MAX_SKIPPED_SHOWN]
        yield from (f"    {file.name}: {file.reason}" for file in shown)
        if len(shown) < len(unnamed):
            yield f"    and {len(unnamed) - len(shown):,} more; --json lists all"


def _join_counts(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {n:,}" for name, n in list(counts.items())[:MAX_LABELS_SHOWN])
    hidden = len(counts) - MAX_LABELS_SHOWN
    return shown + (f" and {hidden:,} more" if hidden > 0 else "")
