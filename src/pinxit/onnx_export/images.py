"""Images to compare an export on: of the run's own data, or random ones where they are gone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.models.inputs import check_images
from pinxit.models.protocols import HasText
from pinxit.runs import Run
from pinxit.sampling.inputs import load_run_data, match_labels

NUM_IMAGES = 64
_NONE = np.arange(0)  # no rows


class Samples(NamedTuple):
    """Images that an export is compared on, and those that it is calibrated with."""

    compared: Batch  # of NUM_IMAGES rows; fewer images are repeated
    calibration: Batch | None  # of other images, if there are two; None: the images are random
    description: str
    missing: str = ""  # why the run's data cannot be read


def read_samples(run: Run, model: Any, images: Images | None) -> Samples:
    """Return images of the run's data, or of `images`: to compare validation, or else test images.

    Calibration images are of the training split. Without such splits they are every other image.
    Where the run's data cannot be read, random images, and why. Raises UsageError for `images` of
    another size than the model takes, and for none.
    """
    try:
        images = load_run_data(run, progress=False) if images is None else images
    except PinxitError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        description = f"{NUM_IMAGES} random images: the run's data is not here ({reason})"
        return Samples(random_batch(model), None, description, reason)
    if len(images) == 0:
        raise UsageError("there are no images to compare on.")
    check_images(model.info, images[:1])
    images = match_labels(model, images)
    compared, calibration = (
        ImageRows(images, rows).evenly_spaced(NUM_IMAGES).load() for rows in divide_rows(images)
    )
    return Samples(_batch(compared), _batch(calibration), _describe(compared, len(images)))


def divide_rows(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to compare on and those to calibrate with: disjoint for two images or more.

    Both are the only row of one image.
    """
    compared = next(filter(len, (_split_rows(images, s) for s in ("validation", "test"))), _NONE)
    calibration = _split_rows(images, "train")
    others = np.setdiff1d(np.arange(len(images)), np.concatenate([compared, calibration]))
    compared = compared if len(compared) else others
    calibration = calibration if len(calibration) else np.setdiff1d(others, compared)
    if len(compared) and len(calibration):
        return compared, calibration
    rows = compared if len(compared) else calibration
    return (rows, rows) if len(rows) == 1 else (rows[::2], rows[1::2])


def _split_rows(images: Images, split: str) -> np.ndarray:
    return _NONE if images.splits is None else images.split_indices(split)


def _batch(images: Images) -> Batch:
    return images.batch(np.resize(np.arange(len(images)), NUM_IMAGES))


def _describe(compared: Images, num_images: int) -> str:
    count = len(compared)
    if num_images == 1:
        return f"1 image, {NUM_IMAGES} times; the ranges of int8 are from it, too"
    repeated = "" if count == NUM_IMAGES else f" ({count} different ones)"
    return f"{NUM_IMAGES} images{repeated}"


def random_batch(model: Any) -> Batch:
    """Return random images of a model's size, with random labels, captions and edits."""
    info: DatasetInfo = model.info
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_IMAGES, info.height, info.width, info.channels)
    pixels, before = (
        torch.randint(256, shape, generator=generator, dtype=torch.uint8) for _ in range(2)
    )
    captions = {}
    if isinstance(model, HasText):
        text = model.text_tokenizer
        low, high = text.num_special_tokens, text.vocab_size
        rows = torch.randint(low, high, (NUM_IMAGES, 6), generator=generator).tolist()
        texts = [text.decode(row).strip() or "?" for row in rows]
        captions = dict.fromkeys(text.languages, texts)
    labels = torch.arange(NUM_IMAGES) % len(info.label_names) if info.label_names else None
    return Batch(pixels, labels, captions=captions, before=before)
