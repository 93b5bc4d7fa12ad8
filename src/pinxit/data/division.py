"""Divide images into splits that share no copies, no groups and no pairs, and describe the result.

The splits are first assigned by the names alone, so that `limit` does not change them. When the
pixels are known, they are assigned anew if copies are in different splits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Int, Int8, Int64

from pinxit.console import pluralize
from pinxit.data.duplicates import index_pixels, near_copies
from pinxit.data.edit_pairs import pair_key
from pinxit.data.images import NO_SPLIT, SPLITS, Images
from pinxit.data.splits import TEST, TRAIN, VALIDATION, assign_splits


def connect(*columns: Int[np.ndarray, " n"] | None) -> Int64[np.ndarray, " n"]:
    """Return the unit of each image: images that are equal in a column, also through others.

    >>> connect(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
    [0, 0, 0, 3]
    """
    indices = [np.unique(c, return_inverse=True)[1] for c in columns if c is not None]
    units = np.arange(len(indices[0]))
    while True:
        before = units
        for index in indices:
            lowest = np.full(index.max(initial=-1) + 1, len(units))
            np.minimum.at(lowest, index, units)
            units = lowest[index]
        if (units == before).all():
            return units


def assign_by_names(
    names: Sequence[str], source_splits: Sequence[str | None], groups: Int[np.ndarray, " n"] | None
) -> Int8[np.ndarray, " n"]:
    """Return the split of each image before its pixels are known."""
    return assign_splits(names, source_splits, connect(_index_pairs(names), groups))


def divide(
    images: Images,
    source_splits: Sequence[str | None],
    splits: Int8[np.ndarray, " n"],
    expected: Sequence[int] = (),
) -> Images:
    """Return the images with splits and with notes on them.

    `splits` are those by names. They are assigned anew if copies or groups are in different ones,
    or if one of the `expected` splits is empty.
    """
    copies = _index_copies(images)
    units = connect(_index_pairs(images.names), images.groups, copies)
    if _is_divided(units, splits) or not set(expected) <= set(splits.tolist()):
        anew = assign_splits(images.names, source_splits, units)
        splits = np.where(splits == NO_SPLIT, splits, anew)
    images = dataclasses.replace(images, splits=splits)
    notes = (*_copy_notes(images, copies), *_split_notes(images, source_splits))
    return dataclasses.replace(images, notes=(*images.notes, *notes))


def _index_pairs(names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Return a number per image, equal for the two images of a pair before and after an edit."""
    if not any("before" in name for name in names):
        return np.arange(len(names))
    return np.unique([pair_key(name) for name in names], return_inverse=True)[1]


def _index_copies(images: Images) -> Int64[np.ndarray, " n"]:
    """Return a number per image, equal for copies.

    The images before an edit have numbers of their own: many edits may start from one image.
    """
    copies = index_pixels(images.pixels)
    before = ~_is_measured(images)
    copies[before] = copies.max(initial=0) + 1 + np.flatnonzero(before)
    return copies


def _is_measured(images: Images) -> np.ndarray:
    """Return which images are not before an edit, bool `[n]`."""
    return np.array([PurePosixPath(name).stem != "before" for name in images.names], bool)


def _is_divided(units: np.ndarray, splits: np.ndarray) -> bool:
    """Return whether a unit is in several splits, not counting images without a split."""
    used = splits != NO_SPLIT
    pairs = np.unique(np.stack([units[used], splits[used]]), axis=1)
    return pairs.shape[1] > len(np.unique(units[used]))


# -- notes -----------------------------------------------------------------------------------------


def _copy_notes(images: Images, copies: np.ndarray) -> Iterator[str]:
    assert images.splits is not None
    measured = _is_measured(images)
    number = int(np.count_nonzero(measured)) - len(np.unique(copies[measured]))
    if number:
        yield (
            f"{pluralize(number, 'image')} with the same pixels as another: copies are never in "
            "different splits"
        )
    excluded = measured & (images.splits == NO_SPLIT)
    is_copy = np.isin(copies, copies[images.splits != NO_SPLIT])
    for rows, reason in (
        (excluded & is_copy, "the source has test or validation images with the same pixels"),
        (excluded & ~is_copy, "the source has test or validation images of the same groups"),
    ):
        if rows.any():
            number = pluralize(int(np.count_nonzero(rows)), "image")
            yield f"{number} left out of training: {reason}"
    yield from _near_copy_notes(images)


def _near_copy_notes(images: Images) -> Iterator[str]:
    """Yield the numbers of test and validation images that nearly equal a training image."""
    measured = _is_measured(images)
    training = np.flatnonzero(measured & (images.splits == TRAIN))
    counts = []
    for split in (TEST, VALIDATION):
        rows = np.flatnonzero(measured & (images.splits == split))
        if number := len(near_copies(images.pixels, rows, training)):
            counts.append(f"{number:,} of {len(rows):,} {SPLITS[split]} images")
    if counts:
        yield f"nearly equal to a training image: {' and '.join(counts)}"


def _split_notes(images: Images, source_splits: Sequence[str | None]) -> Iterator[str]:
    assert images.splits is not None
    counts = np.bincount(images.splits[images.splits != NO_SPLIT], minlength=len(SPLITS))
    if not counts[TRAIN] and (images.splits == NO_SPLIT).any():
        yield "no training images: all are copies, or in the group, of test or validation images"
    if not any(source_splits) and counts[TRAIN] == len(images) > 2:
        yield "all images are training images: there are fewer than three different ones, or groups"
