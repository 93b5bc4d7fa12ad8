"""The section with reconstructions: originals, reconstructions and their difference."""

from __future__ import annotations

import math

import numpy as np

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.psnr import psnr
from pinxit.models.protocols import CanEncode
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import (
    InlineImage,
    inline_image,
    is_small,
    make_error_map,
    make_grid,
    to_rgba,
)
from pinxit.reports.sections import Section, describe_image, shrink_images

NUM_IMAGES = 12
FULL_SCALE_QUANTILE = 0.995  # of the absolute errors: the error shown in full color


def reconstructions(context: ReportContext) -> Section | None:
    """Originals above their reconstructions and absolute errors, with the PSNR of each."""
    originals, decoded = context.subset, context.reconstructions
    mse = context.reconstruction_mse
    if originals is None or decoded is None or mse is None:
        return None
    rows, decibels = evenly_spaced_indices(len(originals), NUM_IMAGES), psnr(mse)
    full_scale = _choose_full_scale(originals.pixels[rows], decoded.pixels[rows])
    columns = [
        (
            _compare(originals, decoded, i, full_scale),
            f"{format_number(float(decibels[i]), 3)} dB",
        )
        for i in rows.tolist()
    ]
    values = {
        "columns": columns,
        "split": context.split,
        "count": len(originals),
        "full_scale": format_number(full_scale, 2),
        "rmse": format_number(255 * math.sqrt(mse.mean()), 3),
        "psnr": format_number(float(decibels.mean()), 3),
        "gaussian_posterior": isinstance(context.model, CanEncode),
    }
    return Section("reconstructions", "Reconstructions", values)


def _choose_full_scale(originals: np.ndarray, decoded: np.ndarray) -> float:
    """Return the error in grey levels that error maps show in full color, at least 1."""
    errors = np.abs(originals.astype(np.float32) - decoded.astype(np.float32)).mean(-1)
    return max(float(np.quantile(errors, FULL_SCALE_QUANTILE)), 1.0)


def _compare(originals: Images, decoded: Images, row: int, full_scale: float) -> InlineImage:
    """Original, reconstruction and absolute error of one image, one above the other."""
    a, b = shrink_images(Images(np.stack([originals.pixels[row], decoded.pixels[row]])))
    stack = np.stack([to_rgba(a), to_rgba(b), make_error_map(a, b, full_scale)])
    name = describe_image(originals, row)
    alt = f"{name}: original, reconstruction and absolute error"
    return inline_image(make_grid(stack, 1), alt, is_small(originals.pixels[row]))
