"""The images with the lowest likelihood."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.images import (
    Image,
    wall,
)
from pinxit.reports.sections import Section, shown_small, small_pixels


def unusual(material: Material, most: int = 12) -> Section | None:
    """The images that the model finds least likely, and a few that it finds most."""
    seen = material.seen
    if seen is None or not material.can("score") or len(seen) < 3:
        return None
    few = seen.evenly_spaced(500)
    scores = np.asarray(material.model.score(few, seed=0), float)
    order = np.argsort(scores)
    shown = min(most, len(few) // 2)
    values = {
        "least": _cells(few, scores, order[:shown]),
        "most": _cells(few, scores, order[::-1][: min(6, shown)]),
        "count": len(few),
        "split": material.split,
        "median": number(float(np.median(scores)), 4),
        "small": shown_small(few),
    }
    return Section("unusual", "The unusual ones", values)


def _cells(images: Images, scores: np.ndarray, rows: np.ndarray) -> list[tuple[Image, str, str]]:
    cells = []
    for i in rows.tolist():
        image = wall(small_pixels(images[i]), 1, _described(images, i))
        cells.append((image, number(float(scores[i]), 4), _named(images, i)))
    return cells


def _named(images: Images, row: int) -> str:
    """An image's name, its folders left out."""
    return str(images.names[row]).rsplit("/", 1)[-1] if len(images.names) else f"no. {row}"


def _described(images: Images, row: int) -> str:
    """`Image cat-7.png, label cat`, for those who hear the page."""
    name = f"Image {_named(images, row)}"
    if images.labels is not None and images.label_names and images.labels[row] >= 0:
        return f"{name}, label {images.label_names[images.labels[row]]}"
    return name
