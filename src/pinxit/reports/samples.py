"""The section with samples: by label, and over the course of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pinxit.models.generation import preview_options
from pinxit.models.protocols import CanDraw, CanEncode, CanSample, HasELBO
from pinxit.reports.context import ReportContext
from pinxit.reports.images import (
    InlineImage,
    inline_grid,
    inline_image,
    read_image,
    shrink,
    split_grid,
)
from pinxit.reports.sections import (
    MAX_THUMBNAIL_SIDE,
    Section,
    is_shrunk,
    shrink_images,
)
from pinxit.sampling.inputs import is_label_conditional
from pinxit.sampling.observation import samples_pixels
from pinxit.training.previews import GENERATED, read_titles

MAX_LABELS = 12  # rows of samples by label
IMAGES_PER_LABEL = 8
MAX_TRAINING_STEPS = 6  # rows of samples over the course of training
IMAGES_PER_STEP = 12

TitledRow = tuple[str, InlineImage]  # a caption and the images of a row


def samples(context: ReportContext) -> Section | None:
    """Show samples from seed 0, samples for each label, and the samples saved during training."""
    if context.samples is None:
        return None
    pixels = shrink_images(context.samples)
    columns, count = _choose_grid_size(pixels)
    values = {
        "grid": inline_grid(pixels[:count], columns, f"{count} samples from seed 0"),
        "count": count,
        "has_latents": isinstance(context.model, CanEncode) and isinstance(context.model, HasELBO),
        "pixels_depend": samples_pixels(context.model),
        "shrunk": is_shrunk(context.samples),
        "by_label": _sample_by_label(context),
        "during_training": _load_training_samples(context),
    }
    return Section("samples", "Samples", values)


def _choose_grid_size(pixels: np.ndarray) -> tuple[int, int]:
    """Columns and number of images: 12 x 6 small ones, 8 x 4 large ones."""
    columns, rows = (12, 6) if max(pixels.shape[1:3]) <= 32 else (8, 4)
    return columns, min(columns * rows, len(pixels))


def _sample_by_label(context: ReportContext) -> list[TitledRow]:
    model = context.model
    if not isinstance(model, CanSample) or not is_label_conditional(model):
        return []
    rows = []
    for name in context.run.info.label_names[:MAX_LABELS]:
        images = model.sample(IMAGES_PER_LABEL, seed=0, label=name, **preview_options(model))
        pixels = shrink_images(images, MAX_THUMBNAIL_SIDE)
        alt = f"{IMAGES_PER_LABEL} samples for the label {name}"
        rows.append((name, inline_grid(pixels, IMAGES_PER_LABEL, alt)))
    return rows


def _load_training_samples(context: ReportContext) -> list[TitledRow]:
    """Load grids of samples, geometrically spaced from the first to the last."""
    files = _list_sample_grids(context)
    if len(files) < 2:
        return []
    indices = np.geomspace(1, len(files), MAX_TRAINING_STEPS).round().astype(int) - 1
    rows = []
    for file in (files[i] for i in sorted(set(indices.tolist()))):
        step = f"{_parse_step(file):,}"
        rows.append(
            (f"step {step}", _load_first_images(file, context, f"Samples after step {step}"))
        )
    return rows


def _list_sample_grids(context: ReportContext) -> list[Path]:
    """Return the grids of samples by their step, without those that show images of the data."""
    folder = context.run.path / "samples"
    # earlier versions wrote no titles; a model that draws has drawings in step-*.png
    untitled = {"sample" if isinstance(context.model, CanDraw) else "step": GENERATED}
    titles = read_titles(folder) or untitled
    kind = next((kind for kind, title in titles.items() if title == GENERATED), None)
    return [] if kind is None else sorted(folder.glob(f"{kind}-*.png"), key=_parse_step)


def _load_first_images(file: Path, context: ReportContext, alt: str) -> InlineImage:
    """Return the first images of a grid that was saved during training."""
    info = context.run.info
    array = read_image(file, grey=info.channels == 1)
    images = split_grid(array, info.height, info.width)
    if images is None:
        return inline_image(array, alt, pixelated=False)
    return inline_grid(shrink(images[:IMAGES_PER_STEP], MAX_THUMBNAIL_SIDE), IMAGES_PER_STEP, alt)


def _parse_step(file: Path) -> int:
    """Return the training step in a file name, `step-000500.png`."""
    return int("".join(c for c in file.stem if c.isdigit()) or 0)
