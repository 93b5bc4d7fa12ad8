"""The section on a ladder of latents: what each level adds to reconstructions, and its KL."""

from __future__ import annotations

import math

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.psnr import psnr
from pinxit.evaluation.reconstruction import mse_per_image
from pinxit.models.protocols import CanEncode
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import InlineImage
from pinxit.reports.sections import MAX_THUMBNAIL_SIDE, Section, inline_thumbnails, is_shrunk
from pinxit.sampling.levels import reconstruct_from_levels

NUM_SHOWN = 10
MAX_PIXEL_VALUES = 4_000_000  # decoded for each row, at most
MAX_IMAGES = 200


def levels(context: ReportContext) -> Section | None:
    """Reconstruct images from the first level, the first two, and so on."""
    model, images, activity = context.model, context.subset, context.activity
    if not isinstance(model, CanEncode) or images is None or activity is None:
        return None
    if activity.level_rate is None:
        return None
    count = max(NUM_SHOWN, min(MAX_IMAGES, MAX_PIXEL_VALUES // context.run.info.dims))
    images = images.evenly_spaced(count)
    shown = evenly_spaced_indices(len(images), NUM_SHOWN)
    rates = activity.level_rate.mean(0).tolist()
    rows = [(_embed(images, shown, "Originals"), "originals", "", "")]
    for number, ((channels, height, width), rate) in enumerate(
        zip(activity.levels, rates, strict=True), 1
    ):
        decoded = reconstruct_from_levels(model, images, number)
        decibels = float(psnr(mse_per_image(images, decoded)).mean())
        grid = f"{height} × {width} × {channels}" if height * width > 1 else f"vector of {channels}"
        text = "level 1" if number == 1 else f"levels 1 to {number}"
        caption = f"{format_number(decibels, 3)} dB"
        kl = f"level {number}, {grid}: {format_number(rate, 3)} nats"
        rows.append((_embed(decoded, shown, f"Reconstructed from {text}"), text, caption, kl))
    values = {
        "rows": rows,
        "split": context.split,
        "count": len(images),
        "total": format_number(math.fsum(rates), 3),
        "shrunk": is_shrunk(images, MAX_THUMBNAIL_SIDE),
    }
    return Section("levels", "What each level adds", values)


def _embed(images: Images, rows: list[int], alt: str) -> InlineImage:
    return inline_thumbnails([images.take(rows)], f"{alt}: {len(rows)} images")
