"""What the page shows, one function a section; each returns None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.reconstruction import psnr
from pinxit.reports.images import (
    CRISP,
    Image,
    as_rgba,
    cells_of,
    error_map,
    of_array,
    opened,
    sheet,
    shrunk,
    wall,
)
from pinxit.reports.material import Material, even
from pinxit.reports.words import number
from pinxit.sampling.inputs import sees_labels

LONGEST = 96  # pixels a side of an image in the page; larger ones are made smaller
THUMB = 48  # likewise of one of many in a row


@dataclass(frozen=True)
class Section:
    """A part of the page: `key` is its anchor and the name of its template."""

    key: str
    title: str
    values: dict[str, Any] = field(default_factory=dict)


Maker = Callable[[Material], Section | None]


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
    names = material.run.facts.label_names
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
    facts = material.run.facts
    array = opened(file, grey=facts.channels == 1)
    cells = cells_of(array, facts.height, facts.width)
    if cells is None:
        return of_array(array, alt, crisp=False)
    small = shrunk(cells[:each], THUMB)
    return wall(small, each, alt)


def _step(file: Any) -> int:
    digits = "".join(c for c in file.stem if c.isdigit())
    return int(digits or 0)


def reconstructed(material: Material, most: int = 12) -> Section | None:
    """Originals, what the model makes of them, and where the two differ."""
    made, seen = material.reconstructions, material.seen
    if made is None or seen is None:
        return None
    errors = material.errors
    assert errors is not None
    rows, decibels = even(len(seen), most), psnr(errors)
    full = float(np.quantile(_absolute(seen.pixels[rows], made.pixels[rows]), 0.995))
    full = max(full, 1.0)
    cells = [
        (
            triple(seen.pixels[i], made.pixels[i], full, _described(seen, int(i))),
            f"{number(float(decibels[i]), 3)} dB",
        )
        for i in rows
    ]
    values = {
        "cells": cells,
        "split": material.split,
        "count": len(seen),
        "full": number(full, 2),
        "error": number(255 * math.sqrt(errors.mean()), 3),
        "psnr": number(float(decibels.mean()), 3),
    }
    return Section("reconstructed", "Through the model and back", values)


def triple(original: np.ndarray, made: np.ndarray, full: float, what: str) -> Image:
    """Original over reconstruction over |error|, as one image."""
    pair = small_pixels(Images(np.stack([original, made])))
    column = np.stack([as_rgba(pair[0]), as_rgba(pair[1]), error_map(pair[0], pair[1], full)])
    crisp = max(original.shape[:2]) <= CRISP
    alt = f"{what}: the original, its reconstruction and their absolute difference"
    return of_array(sheet(column, 1), alt, crisp)


def unusual(material: Material, most: int = 12) -> Section | None:
    """The images that the model finds least likely, and a few that it finds most."""
    seen = material.seen
    if seen is None or not material.can("score") or len(seen) < 3:
        return None
    few = seen[even(len(seen), 500)]
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


# -- pixels ----------------------------------------------------------------------------------


def small_pixels(images: Images, longest: int = LONGEST) -> np.ndarray:
    """The pixels, made smaller where they would make the page heavy."""
    return shrunk(images.pixels, longest)


def shown_small(images: Images, longest: int = LONGEST) -> bool:
    """Whether `small_pixels` made them smaller, which a caption then says."""
    return max(images.height, images.width) > longest


def _absolute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(np.float32) - b.astype(np.float32)).mean(-1)
