"""Labels of records to class indices and names."""

from __future__ import annotations

from pinxit.data.batch import DatasetInfo
from pinxit.data.labels import index_labels
from pinxit.data.records import Record


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


def test_labels_in_any_unicode_form_are_one_class_and_bytes_remain_distinct():
    labels, names = index_labels(
        records(("cafe\u0301",), ("caf\u00e9",), ("b\udce9",), ("b\udce8",))
    )
    assert labels.tolist() == [2, 2, 1, 0]
    assert names == ("b\\udce8", "b\\udce9", "caf\u00e9")
    info = DatasetInfo(4, 8, 8, 1, label_names=names)
    assert info.label_index("cafe\u0301") == info.label_index("caf\u00e9") == 2
    assert info.label_index("b\udce9") == 1
