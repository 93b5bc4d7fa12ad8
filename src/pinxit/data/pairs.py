"""Pairs of pictures, before and after: `NAME/before.png` and `NAME/after.png` of any source.

What was asked for is the caption of the second. A source that has such pairs is one of pairs.
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath

import numpy as np

from pinxit.data.pictures import LeftOut, Pictures


def together(name: str) -> str:
    """What both pictures of a pair are called alike; any other picture's own name."""
    path = PurePosixPath(name)
    return str(path.parent) if path.stem in ("before", "after") else name


def joined(pictures: Pictures) -> Pictures:
    """One picture a pair, the one after it, with the other as `before`; all else is left out.

    The same pictures where there is no pair among them. Copies the pixels.
    """
    rows = {str(PurePosixPath(name).with_suffix("")): i for i, name in enumerate(pictures.names)}
    pairs = {
        name.removesuffix("/after"): (rows[name.removesuffix("after") + "before"], after)
        for name, after in rows.items()
        if name.endswith("/after") and name.removesuffix("after") + "before" in rows
    }
    if not pairs:
        return pictures
    before, after = np.array(list(pairs.values())).T
    single = sorted(set(range(len(pictures))) - {*before.tolist(), *after.tolist()})
    left = tuple(LeftOut(pictures.names[i], "one of no pair") for i in single)
    kept = dataclasses.replace(pictures, labels=None, label_names=()).take(after)
    return dataclasses.replace(
        kept,
        names=list(pairs),
        before=np.asarray(pictures.pixels)[before],
        left_out=(*pictures.left_out, *left),
        notes=(*pictures.notes, f"{len(after):,} pairs, before and after"),
    )
