"""The columns of `Images`: one entry for each image, of the type that all readers expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pinxit.data.split_names import NO_SPLIT, SPLITS
from pinxit.errors import UsageError, format_value

MAX_UNNAMED_LABELS = 100_000  # each gets a name; larger numbers are identifiers, not classes


def check_texts(name: str, column: Any, n: int, kinds: tuple[type, ...] = (str,)) -> None:
    """Raise UsageError unless a column has `n` entries of these types."""
    _check_length(name, column, n)
    types = set(map(type, column))  # of all entries, in one pass in C
    if isinstance(column, str) or not all(issubclass(kind, kinds) for kind in types):
        what = "texts" if kinds == (str,) else "tuples of texts"
        raise UsageError(f"`{name}` are {what}, one for each image.")


def check_text_columns(name: str, columns: Mapping[str, Any], n: int, *, several: bool) -> None:
    """Raise UsageError unless the column of each language has `n` texts, or `n` tuples of texts."""
    if not isinstance(columns, Mapping):
        raise UsageError(f"`{name}` are columns by language, such as {{'en': [...]}}.")
    for language, column in columns.items():
        check_texts(f"{name}[{language!r}]", column, n, (tuple, list) if several else (str,))


def check_integers(name: str, column: Any, n: int) -> np.ndarray:
    """Return a column as an array. Raises UsageError unless it has `n` integers."""
    try:
        values = np.asarray(column)
    except (TypeError, ValueError, RuntimeError):  # lists in lists, tensors of another device
        values = np.zeros(0)
    if values.shape == (0,) == (n,):
        return values.astype(np.int64) if values.dtype.kind == "f" else values  # of []
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise UsageError(
            f"`{name}` are integers, one for each image, not {values.dtype} {list(values.shape)}."
        )
    _check_length(name, values, n)
    return values


def check_splits(column: Any, n: int) -> np.ndarray:
    """Return the splits as an array. Raises UsageError for what is no index into `SPLITS`."""
    splits = check_integers("splits", column, n)
    wrong = splits[(splits < NO_SPLIT) | (splits >= len(SPLITS))]
    if len(wrong):
        known = ", ".join(f"{i} {name}" for i, name in enumerate(SPLITS))
        raise UsageError(f"no split {wrong[0]}; there are: {known}, {NO_SPLIT} for none.")
    return splits


def check_labels(column: Any, label_names: Any, n: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels, int64 `[n]`, and their names: by default the numbers.

    Raises UsageError for a label without a name.
    """
    labels = check_integers("labels", column, n).astype(np.int64, copy=False)
    label_names = check_label_names(label_names)
    highest = int(labels.max(initial=-1))
    if not len(label_names) and highest < MAX_UNNAMED_LABELS:
        label_names = tuple(map(str, range(highest + 1)))
    unnamed = labels[(labels < -1) | (labels >= len(label_names))]
    if len(unnamed):
        raise UsageError(
            f"the label {unnamed[0]} has no name: `label_names` has {len(label_names)}. "
            "Give one for each label, -1 stands for none."
        )
    return labels, label_names


def check_label_names(label_names: Any) -> tuple[str, ...]:
    """Return the names as a tuple. Raises UsageError for what is no list of texts or numbers."""
    if isinstance(label_names, str) or not hasattr(label_names, "__len__"):
        shown = format_value(label_names)
        raise UsageError(f"`label_names` are texts, one for each label, not {shown}.")
    if isinstance(label_names, tuple) and set(map(type, label_names)) <= {str}:
        return label_names
    return tuple(map(str, label_names))


def _check_length(name: str, column: Any, n: int) -> None:
    length = len(column) if hasattr(column, "__len__") else None
    if length != n:
        entries = "no list" if length is None else f"{length:,}"
        raise UsageError(f"`{name}` has {entries} entries, but `pixels` has {n:,} images.")
