"""Map the labels of a source, names or integers, to class indices and class names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pinxit.data.record import Note, Record
from pinxit.data.shards.split_counts import Label
from pinxit.data.unicode_forms import normalize_label

MAX_CONFLICTS_SHOWN = 3


class LabelNumbering(NamedTuple):
    """The class indices of the labels of a source, -1 for those that stand for none."""

    indices: dict[Label, int]
    names: tuple[str, ...]  # of the classes, no two equal
    notes: tuple[Note, ...]  # on labels that contradict one another


def renumber_labels(
    labels: np.ndarray, label_names: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    """Return class indices `[n]` of `label_names` as those of `names`; -1 for a name not there.

    Equal names differ by their numbers, see `make_label_names_unique`.
    """
    numbers = {name: i for i, name in enumerate(make_label_names_unique(names))}
    unique = make_label_names_unique(label_names)
    table = np.array([numbers.get(name, -1) for name in unique] + [-1])
    return table.astype(np.int64)[labels]  # label -1, for none, takes the last entry


def make_label_names_unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return names in form C, with the number of a class after a name that an earlier one has.

    >>> make_label_names_unique(["crane", "owl", "crane"])
    ('crane', 'owl', 'crane (2)')
    """
    by_number = {number: normalize_label(name) for number, name in enumerate(names)}
    return tuple(_name_classes(range(len(names)), by_number).values())


def index_labels(records: Sequence[Record]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the class index of each record, int64 `[n]` with -1 for none, and the class names.

    See `number_labels`. Returns (None, ()) if no record has a label.
    """
    index, names, _ = number_labels((r.label_index, r.label) for r in records)
    if not index:
        return None, ()
    by_record = [index.get((r.label_index, r.label), -1) for r in records]
    return np.array(by_record, np.int64), names


def number_labels(labels: Iterable[Label]) -> LabelNumbering:
    """Number the labels of a source.

    Integers are used as class indices, or renumbered if they have large gaps; the name of a class
    is the first one that its number has, else the number. Of several numbers of one name all but
    the lowest have theirs after it. Other labels are sorted by name, numbers first and by value;
    integers beside them are names, too: those that they have elsewhere, if any.
    """
    forms = {
        (number, name): (number, name and normalize_label(name))
        for number, name in dict.fromkeys(labels)
        if number is not None or name is not None
    }
    normalized = list(dict.fromkeys(forms.values()))
    if all(number is not None for number, _ in normalized):
        index, names, notes = _number_integers(normalized)
    else:
        index, names, notes = _number_names(normalized)
    return LabelNumbering({label: index[form] for label, form in forms.items()}, names, notes)


def _number_integers(labels: Sequence[Label]) -> LabelNumbering:
    """Number labels that all have a number; a negative one means no label."""
    used = sorted({number for number, _ in labels if number is not None and number >= 0})
    is_dense = bool(used) and used[-1] < 2 * len(used) + 10
    own_names = _first_names(labels)
    names = _name_classes(range(used[-1] + 1) if is_dense else used, own_names)
    places = {number: i for i, number in enumerate(names)}
    index = {label: places.get(-1 if label[0] is None else label[0], -1) for label in labels}
    notes = [
        *_note_several_names(labels, own_names),
        *_note_equal_names(used, own_names, names),
    ]
    return LabelNumbering(index, tuple(names.values()), tuple(notes))


def _number_names(labels: Sequence[Label]) -> LabelNumbering:
    """Number labels of which some are names alone."""
    own_names = _first_names(labels)
    texts = {label: _text_of(label, own_names) for label in labels}
    names = sorted({text for text in texts.values() if text is not None}, key=_sort_key)
    places = {name: i for i, name in enumerate(names)}
    index = {label: -1 if text is None else places[text] for label, text in texts.items()}
    # a number with two names is two classes: only one without a name can be of either
    nameless = {number for number, name in labels if name is None}
    notes = _note_several_names([label for label in labels if label[0] in nameless], own_names)
    return LabelNumbering(index, tuple(names), tuple(notes))


def _first_names(labels: Iterable[Label]) -> dict[int, str]:
    """Return the name of each number, the first one if it has several."""
    names: dict[int, str] = {}
    for number, name in labels:
        if number is not None and number >= 0 and name:
            names.setdefault(number, name)
    return names


def _text_of(label: Label, own_names: Mapping[int, str]) -> str | None:
    """Return a label as text where some are names and others numbers, of which some have names."""
    number, name = label
    if name is not None or number is None or number < 0:
        return name
    return own_names.get(number, str(number))


def _name_classes(numbers: Sequence[int], own_names: Mapping[int, str]) -> dict[int, str]:
    """Return a name for each number, in this order: its own, else itself; no two are equal."""
    owner: dict[str, int] = {}
    for number in sorted(own_names):
        owner.setdefault(own_names[number], number)
    names, taken = {}, set(owner)
    for number in numbers:
        name = own_names.get(number, str(number))
        while name in taken and owner.get(name) != number:
            name = f"{name} ({number})"
        names[number] = name
        taken.add(name)
    return names


def _note_several_names(labels: Iterable[Label], own_names: Mapping[int, str]) -> Iterator[Note]:
    """Yield a note on numbers that have several names, of which one is not used."""
    unused: dict[int, list[str]] = {}
    for number, name in labels:
        if number is not None and name and name != own_names.get(number, name):
            unused.setdefault(number, []).append(name)
    if unused:
        conflicts = (
            f"label {number} is '{own_names[number]}', not {_quote(names)}"
            for number, names in unused.items()
        )
        yield Note(f"labels with several names: {_join(conflicts)}", is_loss=True)


def _note_equal_names(
    used: Iterable[int], own_names: Mapping[int, str], names: Mapping[int, str]
) -> Iterator[Note]:
    """Yield a note on numbers that share a name with another one; all are classes."""
    renamed = [n for n in used if names[n] != own_names.get(n, str(n))]
    if renamed:
        conflicts = (f"label {number} is '{names[number]}'" for number in renamed)
        yield Note(f"labels with the same name: {_join(conflicts)}")


def _quote(names: Iterable[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _join(conflicts: Iterable[str]) -> str:
    shown = list(conflicts)
    rest = len(shown) - MAX_CONFLICTS_SHOWN
    more = f" and {rest:,} more" if rest > 0 else ""
    return "; ".join(shown[:MAX_CONFLICTS_SHOWN]) + more


def _sort_key(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
