"""Images to compare an export on: of the run's own data, or random ones where they are gone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.models.inputs import check_images
from pinxit.models.protocols import HasText
from pinxit.runs import Run
from pinxit.sampling.inputs import load_run_data, match_labels, select_rows

NUM_IMAGES = 64


class Samples(NamedTuple):
    """Images that an export is compared on, and those that it is calibrated with."""

    compared: Batch  # of NUM_IMAGES rows; fewer images are repeated
    calibration: Batch | None  # None: the images are random
    description: str
    missing: str = ""  # why the run's data cannot be read


def read_samples(run: Run, model: Any, images: Images | None) -> Samples:
    """Return validation images of the run's data, test images without them, or of `images` all.

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
    compared = _rows_of(images, ("validation", "test", "all"))
    return Samples(
        _batch(compared), _batch(_rows_of(images, ("train", "all"))), _describe(compared)
    )


def _rows_of(images: Images, splits: tuple[str, ...]) -> Images:
    """Return evenly spaced images of the first split that has any."""
    for split in splits:
        try:
            rows, _ = select_rows(images, split)
        except UsageError:
            continue
        return rows.evenly_spaced(NUM_IMAGES).load()
    raise UsageError("there are no images to compare on.")


def _batch(images: Images) -> Batch:
    return images.batch(np.resize(np.arange(len(images)), NUM_IMAGES))


def _describe(images: Images) -> str:
    count = len(images)
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
