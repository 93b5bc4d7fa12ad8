"""Labels of records to class indices and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.batch import DatasetInfo
from pinxit.data.labels import index_labels
from pinxit.data.records import Record
from pinxit.errors import UsageError


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
    from pinxit.data.streams.division import _number_labels

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
    index, streamed = _number_labels([label for label in labels if label != (None, None)])
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
