"""The samples of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pinxit.reports.context import Material
from pinxit.reports.images import (
    Image,
    cells_of,
    of_array,
    opened,
    shrunk,
    wall,
)
from pinxit.reports.sections import THUMB, Section, shown_small, small_pixels
from pinxit.sampling.inputs import sees_labels


def painted(material: Material) -> Section | None:
    """New images of a fixed seed, by label where the model knows labels, and as it learned."""
    samples = material.samples
    if samples is None:
        return None
    small = small_pixels(samples)
    columns, many = _wall_size(small)
    values = {
        "wall": wall(small[:many], columns, f"{many} new images that the model painted, seed 0"),
        "count": many,
        "small": shown_small(samples),
        "by_label": _by_label(material),
        "strip": _as_it_learned(material),
    }
    return Section("painted", "What it paints", values)


def _wall_size(pixels: np.ndarray) -> tuple[int, int]:
    """Columns and number of images: 12 x 6 small ones, fewer where they are large."""
    columns = 12 if max(pixels.shape[1:3]) <= 32 else 8
    rows = 6 if columns == 12 else 4
    return columns, min(columns * rows, len(pixels))


def _by_label(material: Material, most: int = 12, each: int = 8) -> list[tuple[str, Image]]:
    names = material.run.info.label_names
    if not sees_labels(material.model):
        return []
    rows = []
    for name in names[:most]:
        made = small_pixels(material.model.sample(each, seed=0, label=name), THUMB)
        rows.append((name, wall(made, each, f"{each} new images with the label {name}")))
    return rows


def _as_it_learned(material: Material, most: int = 6) -> list[tuple[str, Image]]:
    """`samples/step-*.png`, from the first to the last at growing distances."""
    files = sorted(material.run.path.glob("samples/step-*.png"), key=_step)
    if len(files) < 2:
        return []
    places = np.geomspace(1, len(files), most).round().astype(int) - 1
    strip = []
    for place in sorted(set(places.tolist())):
        step = f"{_step(files[place]):,}"
        alt = f"Samples of fixed seeds after step {step}"
        strip.append((f"step {step}", _first_row(files[place], material, alt)))
    return strip


def _first_row(file: Path, material: Material, alt: str, each: int = 12) -> Image:
    """The first images of a sheet that was written while training."""
    info = material.run.info
    array = opened(file, grey=info.channels == 1)
    cells = cells_of(array, info.height, info.width)
    if cells is None:
        return of_array(array, alt, crisp=False)
    small = shrunk(cells[:each], THUMB)
    return wall(small, each, alt)


def _step(file: Any) -> int:
    digits = "".join(c for c in file.stem if c.isdigit())
    return int(digits or 0)
