"""Images in the form that a model takes them."""

from __future__ import annotations

import numpy as np

from pinxit.data.images import Images
from pinxit.sampling.inputs import labels_for, match_labels, select_test_split
from tests.builders import blobs, build_vae


def test_labels_are_matched_by_name_to_those_of_a_label_conditional_model():
    conditional, unconditional = build_vae(condition="label"), build_vae()
    images = blobs(8)
    names = (*images.label_names[::-1][:3], "elsewhere")  # reordered, one unknown
    labels = np.array([0, 1, 2, 3, -1, 0, 1, 2])
    other = Images(images.pixels, labels=labels, label_names=names)
    matched = match_labels(conditional, other)
    assert matched.labels.tolist() == [3, 2, 1, -1, -1, 3, 2, 1]
    assert labels_for(conditional, matched) is matched.labels
    assert labels_for(unconditional, other) is None
    assert match_labels(unconditional, other) is other


def test_without_a_test_split_all_images_are_used_with_a_warning():
    images = blobs(40)
    test, warning = select_test_split(images)
    assert (len(test), warning) == (10, "")
    test, warning = select_test_split(images.split("train"))
    assert len(test) == 20
    assert "no test split" in warning
