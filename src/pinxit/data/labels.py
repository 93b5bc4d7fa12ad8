"""Map the labels of a source, names or integers, to class indices and class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pinxit.data.records import Record
from pinxit.data.unicode_forms import normalize_label


def renumber_labels(
    labels: np.ndarray, label_names: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    """Return class indices `[n]` of `label_names` as those of `names`; -1 for a name not there."""
    numbers = {normalize_label(name): i for i, name in enumerate(names)}
    table = np.array([numbers.get(normalize_label(name), -1) for name in label_names] + [-1])
    return table.astype(np.int64)[labels]  # label -1, for none, takes the last entry


def index_labels(records: Sequence[Record]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the class index of each record, int64 `[n]` with -1 for none, and the class names.

    Integer labels are used as class indices, or renumbered if they have large gaps. Other labels
    are sorted by name, numbers first and by value; integers beside them are names, too. Returns
    (None, ()) if no record has a label.
    """
    records = [replace(r, label=normalize_label(r.label)) if r.label else r for r in records]
    labels = {
        (r.label_index, r.label)
        for r in records
        if r.label is not None or r.label_index is not None
    }
    if not labels:
        return None, ()
    if all(number is not None for number, _ in labels):
        indices, names = _index_integer_labels({int(number or 0): name for number, name in labels})
        by_record = [
            -1 if r.label_index is None else indices.get(r.label_index, -1) for r in records
        ]
    else:
        known = {number: name for number, name in labels if number is not None and name}
        texts = [_text_of(r, known) for r in records]
        names = tuple(sorted({text for text in texts if text is not None}, key=_sort_key))
        index_of = {name: i for i, name in enumerate(names)}
        by_record = [-1 if text is None else index_of[text] for text in texts]
    return np.array(by_record, np.int64), names


def _text_of(record: Record, known: Mapping[int, str]) -> str | None:
    """Return a label as text where some are names and others numbers, of which some are `known`."""
    number = record.label_index
    if record.label is not None or number is None or number < 0:
        return record.label
    return known.get(number, str(number))


def _index_integer_labels(names: dict[int, str | None]) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the class index of each integer and the class names; negative means no label."""
    numbers = sorted(number for number in names if number >= 0)
    if not numbers:
        return {}, ()
    is_dense = numbers[-1] < 2 * len(numbers) + 10
    numbers = list(range(numbers[-1] + 1)) if is_dense else numbers
    class_names = tuple(names.get(number) or str(number) for number in numbers)
    return {number: i for i, number in enumerate(numbers)}, class_names


def _sort_key(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
