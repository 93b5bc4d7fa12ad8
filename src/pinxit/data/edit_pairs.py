"""Pairs of images before and after an edit: `NAME/before.png` and `NAME/after.png`.

Any source may contain pairs; the caption of the second image is the edit instruction. A source
with at least one pair is a source of pairs: its other images are skipped.
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

import numpy as np

from pinxit.data.images import Images, SkippedFile


def pair_key(name: str) -> str:
    """Return the common key of the two images of a pair, or the name of any other image."""
    path = PurePosixPath(name)
    return str(path.parent) if path.stem in ("before", "after") else name


def join_pairs(images: Images) -> Images:
    """Join each pair to one image, the one after the edit, with the other in `before`.

    Images without a counterpart are skipped. Copies the pixels. Returns `images` itself if it
    contains no pairs.
    """
    rows = {str(PurePosixPath(name).with_suffix("")): i for i, name in enumerate(images.names)}
    pairs = {
        name.removesuffix("/after"): (rows[name.removesuffix("after") + "before"], after)
        for name, after in rows.items()
        if name.endswith("/after") and name.removesuffix("after") + "before" in rows
    }
    if not pairs:
        return images
    before, after = np.array(list(pairs.values())).T
    unpaired = sorted(set(range(len(images))) - {*before.tolist(), *after.tolist()})
    skipped = tuple(SkippedFile(images.names[i], "not one of a pair") for i in unpaired)
    edited = dataclasses.replace(images, labels=None, label_names=()).take(after)
    counts = images.file_counts
    if counts:
        counts = counts | {"images": counts["images"] - len(unpaired)}
    return dataclasses.replace(
        edited,
        names=list(pairs),
        before=np.asarray(images.pixels)[before],
        skipped=(*images.skipped, *skipped),
        file_counts=counts,
        notes=(*images.notes, f"{len(after):,} pairs of images before and after an edit"),
    )
