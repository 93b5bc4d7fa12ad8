"""Pairs of images, before and after: `NAME/before.png` and `NAME/after.png` of any source.

What was asked for is the caption of the second. A source that has such pairs is one of pairs.
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

import numpy as np

from pinxit.data.images import Images, SkippedFile


def pair_key(name: str) -> str:
    """What both images of a pair are called alike; any other image's own name."""
    path = PurePosixPath(name)
    return str(path.parent) if path.stem in ("before", "after") else name


def join_pairs(images: Images) -> Images:
    """One image a pair, the one after it, with the other as `before`; all else is left out.

    The same images where there is no pair among them. Copies the pixels.
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
    single = sorted(set(range(len(images))) - {*before.tolist(), *after.tolist()})
    left = tuple(SkippedFile(images.names[i], "one of no pair") for i in single)
    kept = dataclasses.replace(images, labels=None, label_names=()).take(after)
    return dataclasses.replace(
        kept,
        names=list(pairs),
        before=np.asarray(images.pixels)[before],
        skipped=(*images.skipped, *left),
        notes=(*images.notes, f"{len(after):,} pairs, before and after"),
    )
