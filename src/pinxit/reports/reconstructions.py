"""Reconstructions beside their originals, with the error."""

from __future__ import annotations

import math

import numpy as np

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.psnr import psnr
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.images import (
    CRISP,
    Image,
    as_rgba,
    error_map,
    of_array,
    sheet,
)
from pinxit.reports.outliers import _described
from pinxit.reports.sections import Section, small_pixels


def reconstructed(material: Material, most: int = 12) -> Section | None:
    """Originals, what the model makes of them, and where the two differ."""
    made, seen = material.reconstructions, material.seen
    if made is None or seen is None:
        return None
    errors = material.errors
    assert errors is not None
    rows, decibels = evenly_spaced_indices(len(seen), most), psnr(errors)
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


def _absolute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(np.float32) - b.astype(np.float32)).mean(-1)
