"""The section with the images of the lowest likelihood."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.models.protocols import CanScore, HasELBO
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import InlineImage, inline_grid
from pinxit.reports.sections import (
    Section,
    describe_image,
    get_image_name,
    is_shrunk,
    shrink_images,
)

MAX_SCORED_IMAGES = 500
MAX_SLOWLY_SCORED_IMAGES = 20  # of a model that takes an evaluation of many steps for each
NUM_LEAST_LIKELY, NUM_MOST_LIKELY = 12, 6


def outliers(context: ReportContext) -> Section | None:
    """Show the images with the lowest log-likelihood, and a few with the highest."""
    model = context.model
    if context.subset is None or not isinstance(model, CanScore) or len(context.subset) < 3:
        return None
    is_slow = model.max_scored_images is not None
    images = context.subset.evenly_spaced(
        MAX_SLOWLY_SCORED_IMAGES if is_slow else MAX_SCORED_IMAGES
    )
    scores = np.asarray(model.score(images, seed=0), float)
    order = np.argsort(scores)
    shown = min(NUM_LEAST_LIKELY, len(images) // 2)
    values = {
        "least_likely": _show_scores(images, scores, order[:shown]),
        "most_likely": _show_scores(images, scores, order[::-1][: min(NUM_MOST_LIKELY, shown)]),
        "count": len(images),
        "split": context.split,
        "median": format_number(float(np.median(scores)), 4),
        "lower_bound": isinstance(model, HasELBO),
        "likelihood": model.likelihood_description,
        "shrunk": is_shrunk(images),
    }
    return Section("outliers", "Outliers (lowest likelihood)", values)


def _show_scores(
    images: Images, scores: np.ndarray, rows: np.ndarray
) -> list[tuple[InlineImage, str, str]]:
    """Return each image with its score in nats and its name."""
    cells = []
    for i in rows.tolist():
        image = inline_grid(shrink_images(images[i]), 1, describe_image(images, i))
        cells.append((image, format_number(float(scores[i]), 4), get_image_name(images, i)))
    return cells
