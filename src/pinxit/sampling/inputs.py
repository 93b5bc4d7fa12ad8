"""The images that a command is given, as its run's model takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from pinxit.models.protocols import HasLabels
from pinxit.runs import Run


def run_images(run: Run, *, progress: bool = True) -> Images:
    """All images of the data that a run learned from, as it saw them.

    Raises PinxitError where they are not there any more.
    """
    record: dict[str, Any] = run.config.get("data") or {}
    if not record.get("source"):
        raise PinxitError(f"{run.path} does not say what it learned from; name DATA.")
    known = ("fit", "limit", "seed", "captions")
    options = {k: record[k] for k in known if record.get(k) is not None}
    return _converted(record.get("files") or record["source"], run.info, progress, **options)


def given_images(run: Run, data: Sequence[str | Path] | Images, *, progress: bool = True) -> Images:
    """DATA or image files at the run's size and channels.

    Raises UsageError where DATA means nothing, PinxitError where no image can be read.
    """
    if isinstance(data, Images):
        return data
    record: dict[str, Any] = run.config.get("data") or {}
    source = data[0] if len(data) == 1 else list(data)
    fit = record.get("fit") or "crop"
    made = {"captions": record["captions"]} if record.get("captions") else {}
    return _converted(source, run.info, progress, fit=fit, **made)


def _converted(source: Any, info: DatasetInfo, progress: bool, **options: Any) -> Images:
    size = (info.height, info.width)
    color = "grey" if info.channels == 1 else "rgb"
    return load_images(source, size=size, color=color, progress=progress, **options)


def held_out(images: Images) -> tuple[Images, str]:
    """The test split; where it is empty all images, and a line that says so."""
    rows = images.split_indices("test") if images.splits is not None else np.arange(0)
    if len(rows):
        return images.take(rows), ""
    return images, (
        f"{images.source or 'the data'} has no test split: these are all its {len(images):,} "
        "images, and the model may have learned from them"
    )


def sees_labels(model: Any) -> bool:
    """Whether a model was built to be told the label."""
    return isinstance(model, HasLabels) and model.label_conditional


def labels_for(model: Any, images: Images) -> np.ndarray | None:
    """The labels to give a model with these images: None for a model that sees none."""
    return images.labels if sees_labels(model) else None


def for_model(model: Any, images: Images) -> Images:
    """The images, labels numbered by the model's own names where it sees them; -1 for others."""
    names = model.info.label_names
    if images.labels is None or images.label_names == names or not sees_labels(model):
        return images
    numbers = {name: i for i, name in enumerate(names)}
    table = np.array([numbers.get(name, -1) for name in images.label_names] + [-1], np.int64)
    labels = table[images.labels]  # -1, none, takes the last
    return dataclasses.replace(images, labels=labels, label_names=names)
