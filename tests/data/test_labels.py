"""Labels of records to class indices and names."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.batch import DatasetInfo
from pinxit.data.labels import index_labels, number_labels, renumber_labels
from pinxit.data.load import load_images
from pinxit.data.records import Record
from pinxit.data.unicode_forms import normalize_label
from pinxit.errors import PinxitError, UsageError
from tests.data.streams.shard_sets import image_bytes, write_shard


def records(*labels):
    return [Record(str(i), bytes, *label) for i, label in enumerate(labels)]


def test_labels_are_mapped_to_class_indices():
    assert index_labels(records((None,), (None,))) == (None, ())
    labels, names = index_labels(records(("b",), (None,), ("a",)))
    assert (labels.tolist(), names) == ([1, -1, 0], ("a", "b"))
    labels, names = index_labels(records(("10",), ("9",)))
    assert (labels.tolist(), names) == ([1, 0], ("9", "10"))
    # a class without images keeps its index; one without a name is named by its number
    labels, names = index_labels(records(("cow", 3), (None, 1), (None, -1)))
    assert (labels.tolist(), names) == ([3, 1, -1], ("0", "1", "2", "cow"))
    labels, names = index_labels(records((None, 5_000), (None, 70)))
    assert (labels.tolist(), names) == ([1, 0], ("70", "5000"))


@given(st.lists(st.sampled_from([*"0123ABC", "07", "²", "-1", ""]), min_size=1, max_size=12))
def test_each_label_of_a_shard_is_the_text_given_streamed_or_not(texts):
    labels = [(int(t), None) if t.lstrip("-").isascii() and t.lstrip("-").isdigit()
              else (None, t or None) for t in texts]  # fmt: skip
    expected = [None if t in ("", "-1") else t.lstrip("0") or "0" for t in texts]
    indices, names = index_labels(records(*((name, number) for number, name in labels)))
    found = [None] * len(texts) if indices is None else [
        names[i] if i >= 0 else None for i in indices.tolist()
    ]  # fmt: skip
    assert found == expected
    if any(name for _, name in labels):  # among numbers alone, one without images keeps its place
        assert set(names) == set(expected) - {None}
    index, streamed, _ = number_labels([label for label in labels if label != (None, None)])
    assert streamed == names
    assert all(
        index[label] == i
        for label, i in zip(labels, [] if indices is None else indices.tolist(), strict=False)
        if label != (None, None)
    )


@given(st.text(st.characters(categories=["N"]), min_size=1, max_size=3))
def test_a_label_that_is_no_number_of_a_class_is_an_error(text):
    info = DatasetInfo(4, 8, 8, 1, label_names=("cat", "dog"))
    if text.isascii() and int(text) < 2:
        assert info.label_index(text) == int(text)
    else:
        with pytest.raises(UsageError, match="no label"):
            info.label_index(text)


def test_labels_in_any_unicode_form_are_one_class_and_bytes_remain_distinct():
    labels, names = index_labels(
        records(("cafe\u0301",), ("caf\u00e9",), ("b\udce9",), ("b\udce8",))
    )
    assert labels.tolist() == [2, 2, 1, 0]
    assert names == ("b\\udce8", "b\\udce9", "caf\u00e9")
    info = DatasetInfo(4, 8, 8, 1, label_names=names)
    assert info.label_index("cafe\u0301") == info.label_index("caf\u00e9") == 2
    assert info.label_index("b\udce9") == 1


NUMBERS = st.integers(-1, 5) | st.just(5_000)
NAMES = st.sampled_from(["cat", "kitten", "3", "0", "cat (1)", "caf\u00e9", "cafe\u0301"])
LABEL = st.tuples(st.none() | NUMBERS, st.none() | NAMES)


def class_names(labels):
    """The name of the class of each label, None for none."""
    index, names, _ = number_labels(labels)
    return [names[index[label]] if index.get(label, -1) >= 0 else None for label in labels]


def names_of(labels, number):
    return list(dict.fromkeys(name for other, name in labels if other == number and name))


@given(st.lists(LABEL, max_size=10), st.randoms())
def test_classes_have_unique_names_in_any_order_of_the_labels(labels, random):
    _, names, notes = number_labels(labels)
    assert len(set(names)) == len(names)
    if any(note.is_loss for note in notes):
        return  # which of several names is used depends on the order
    shuffled = labels.copy()
    random.shuffle(shuffled)
    assert number_labels(shuffled).names == names
    assert number_labels(shuffled).indices == number_labels(labels).indices


@given(st.lists(st.tuples(NUMBERS, st.none() | NAMES), min_size=1, max_size=10))
def test_a_number_has_the_first_name_that_any_record_gives_it(labels):
    labels = [(number, name and normalize_label(name)) for number, name in labels]
    for (number, _), found in zip(labels, class_names(labels), strict=True):
        if number < 0:
            assert found is None
            continue
        own = (names_of(labels, number) or [str(number)])[0]
        shares = [other for other, _ in labels if own in names_of(labels, other)[:1]]
        taken = [other for other in shares if other >= 0 and other != number]
        if not taken or (names_of(labels, number) and number < min(taken)):
            assert found == own
        else:
            assert found.startswith(f"{own} ({number})")


@given(st.lists(LABEL, max_size=10))
def test_labels_that_contradict_one_another_are_noted(labels):
    notes = number_labels(labels).notes
    is_integers = all(number is not None for number, name in labels if name is not None)
    several = {
        number
        for number, _ in labels
        if number is not None and number >= 0
        and len({*map(normalize_label, names_of(labels, number))}) > 1
        and (is_integers or (number, None) in labels)
    }  # fmt: skip
    lost = [note.text for note in notes if note.is_loss]
    assert bool(lost) == bool(several)
    if len(several) == 1:
        assert f": label {several.pop()} is '" in lost[0]


def test_two_numbers_of_one_name_are_two_classes():
    labels = [(0, "cat"), (1, "cat"), (2, None), (3, "2")]
    _, names, notes = number_labels(labels)
    assert names == ("cat", "cat (1)", "2 (2)", "2")
    assert [note.is_loss for note in notes] == [False]
    assert "label 1 is 'cat (1)'; label 2 is '2 (2)'" in notes[0].text
    known = ("cat", "cat (1)", "dog")
    labels = index_labels(records(("cat", 0), ("cat", 1)))[0]
    assert renumber_labels(labels, ("cat", "cat"), known).tolist() == [0, 1]
    assert renumber_labels(labels, ("cat", "cat"), ("dog", "cat", "cat")).tolist() == [1, -1]
    assert renumber_labels(labels, names, ("cat", "cat")).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_names_do_not_depend_on_the_seed_of_hashes(seed):
    program = """
from pinxit.data.labels import number_labels
labels = [(k, name) for k in range(9) for name in (None, f"cat {k}", f"kitten {k}")]
print(number_labels(labels).names)
"""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == repr(tuple(f"cat {k}" for k in range(9)))


ROWS = [(0, None), (0, "cat"), (1, "owl"), (0, "kitten"), (2, "owl"), (1, None)]


@pytest.mark.parametrize("stream", ["on", "off"])
@pytest.mark.parametrize(
    ("rows", "expected", "is_loss"),
    [
        (ROWS, ["cat", "cat", "owl", "cat", "owl (2)", "owl"], True),
        (ROWS[:3], ["cat", "cat", "owl"], False),
        ([*ROWS, (None, "bee")], ["cat", "cat", "owl", "kitten", "owl", "owl", "bee"], True),
    ],
)
def test_labels_with_and_without_names_are_one_class_streamed_or_not(
    tmp_path, stream, rows, expected, is_loss
):
    files = []
    for i in range(60):
        number, name = rows[i % len(rows)]
        row = {"label": number, "label_name": name} if number is not None else {"label": name}
        files += [(f"{i:02d}.png", image_bytes(i)), (f"{i:02d}.json", json.dumps(row).encode())]
    write_shard(tmp_path / "0.tar", files)
    images = load_images(tmp_path, stream=stream, progress=False)
    names = [images.label_names[label] for label in images.labels]
    numbers = [int(name.rsplit("/")[-1].rsplit("-")[-1]) for name in images.names]
    assert names == [expected[i % len(rows)] for i in numbers]
    assert bool(images.losses) == is_loss
    assert all(loss in images.notes for loss in images.losses)
    if is_loss:
        with pytest.raises(PinxitError, match="labels with several names: label 0 is 'cat', not"):
            load_images(tmp_path, stream=stream, strict=True, progress=False)
