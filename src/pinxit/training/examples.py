"""Examples of a run's data, recorded in its folder: they can be shown where the data are not.

`examples.json` is `{"split": NAME, "images": [{"png", "captions", "label", "before"}, ...]}`; PNG
files are in base64, `captions` maps languages to texts, and what an image lacks is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.runs import EXAMPLES_FILE, Run

MAX_EXAMPLES = 24
MAX_PIXEL_VALUES = 2_000_000  # of all examples, so that the file stays small
NUM_CANDIDATES = 20  # images for each example, of which those with new captions come first


def save_examples(run: Run, images: Images) -> None:
    """Write examples.json, unless the run has it."""
    if not (run.path / EXAMPLES_FILE).exists():
        run.write(EXAMPLES_FILE, describe_examples(images))


def describe_examples(images: Images) -> dict[str, Any]:
    """Return images of the test split, or else of validation, or else of training."""
    names = ("test", "validation", "train")
    split = next((name for name in names if len(images.split_indices(name))), "all")
    rows = choose_examples(images, images.split_indices(split))
    return {"split": split, "images": [_describe(images, int(row)) for row in rows]}


def choose_examples(images: Images, rows: np.ndarray) -> np.ndarray:
    """Return evenly spaced rows; where there are captions, at first rows with different ones."""
    values = images.height * images.width * images.channels
    count = min(MAX_EXAMPLES, max(1, MAX_PIXEL_VALUES // values), len(rows))
    spaced = rows[evenly_spaced_indices(len(rows), count)]
    if not any(images.captions.values()):
        return spaced
    candidates = rows[evenly_spaced_indices(len(rows), count * NUM_CANDIDATES)]
    distinct = _with_distinct_captions(candidates, list(images.captions.values()))
    distinct = distinct[evenly_spaced_indices(len(distinct), count)]
    others = [row for row in spaced if row not in set(distinct.tolist())]
    return np.array([*distinct, *others][:count], int)


def _with_distinct_captions(rows: np.ndarray, columns: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the rows with captions that no row before has."""
    first: dict[tuple[str, ...], int] = {}
    for row in rows:
        texts = tuple(column[int(row)] for column in columns)
        if any(texts):
            first.setdefault(texts, int(row))
    return np.array(list(first.values()), int)


def _describe(images: Images, row: int) -> dict[str, Any]:
    record: dict[str, Any] = {"png": _to_base64_png(images.pixels[row])}
    captions = {name: column[row] for name, column in images.captions.items() if column[row]}
    if captions:
        record["captions"] = captions
    if images.labels is not None and images.labels[row] >= 0:
        record["label"] = images.label_names[int(images.labels[row])]
    if images.before is not None:
        record["before"] = _to_base64_png(images.before[row])
    return record


def _to_base64_png(pixels: np.ndarray) -> str:
    return base64.b64encode(Images(np.ascontiguousarray(pixels)[None]).to_png()).decode()
