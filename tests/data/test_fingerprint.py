"""The fingerprint of images: it changes with all that a model can learn from or is measured on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.data.load import compute_fingerprint
from tests.builders import blobs

IMAGES = dataclasses.replace(
    blobs(12),
    groups=np.arange(12) // 2,
    more_captions={"en": [["another"]] * 12},
    keywords={"en": [("blob",)] * 12},
)
# fields that say where images come from or how they were read, not what they are; `before` is made
# of images that have been hashed as others
DESCRIPTIONS = {
    "source",
    "fingerprint",
    "notes",
    "losses",
    "skipped",
    "file_counts",
    "conversion",
    "before",
}


def change(value):
    """A value of the same kind that differs in one place."""
    if isinstance(value, np.ndarray):
        changed = value.copy()
        changed.flat[-1] += 1
        return changed
    if isinstance(value, dict):
        key = next(iter(value))
        return {**value, key: change(value[key])}
    if isinstance(value, list | tuple):
        return type(value)([*value[:-1], change(value[-1])])
    return f"{value}!"


FIELDS = [
    field.name
    for field in dataclasses.fields(IMAGES)
    if field.name not in DESCRIPTIONS and getattr(IMAGES, field.name) is not None
]


@pytest.mark.parametrize("field", FIELDS)
def test_one_change_of_any_field_changes_it(field):
    changed = dataclasses.replace(IMAGES, **{field: change(getattr(IMAGES, field))})
    assert compute_fingerprint(changed) != compute_fingerprint(IMAGES)
    assert compute_fingerprint(dataclasses.replace(IMAGES)) == compute_fingerprint(IMAGES)


def test_captions_splits_and_labels_are_among_the_fields():
    assert {"pixels", "captions", "splits", "labels", "names", "groups", "keywords"} <= set(FIELDS)
