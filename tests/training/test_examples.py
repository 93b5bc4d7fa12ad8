"""Examples of a run's data: images of the test split, with captions that differ."""

from __future__ import annotations

import base64
import dataclasses
import io
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.images import Images
from pinxit.runs import Run
from pinxit.training.examples import MAX_EXAMPLES, choose_examples, describe_examples, save_examples
from tests.builders import blobs


def decode(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_examples_are_images_of_the_test_split_with_all_that_is_known():
    images = blobs()
    record = describe_examples(images)
    test = images.split("test")
    assert record["split"] == "test"
    assert len(record["images"]) == MAX_EXAMPLES
    for example in record["images"]:
        rows = [i for i, p in enumerate(test.pixels) if (p[..., 0] == decode(example["png"])).all()]
        row = rows[0]
        assert example["captions"] == {name: test.captions[name][row] for name in ("en", "fr")}
        assert example["label"] == test.label_names[test.labels[row]]
        np.testing.assert_array_equal(decode(example["before"]), test.before[row, ..., 0])


def test_without_a_test_split_other_images_are_taken():
    images = blobs()
    for splits, name in ((images.splits % 2, "validation"), (np.zeros(96, np.int8), "train")):
        record = describe_examples(dataclasses.replace(images, splits=splits))
        assert record["split"] == name


@given(
    texts=st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=200),
    side=st.sampled_from([2, 500]),
)
def test_chosen_rows_are_distinct_and_every_caption_comes_first(texts, side):
    n = max(len(texts), 1)
    captions = {"en": texts} if texts else {}
    images = Images(np.zeros((n, side, side, 3), np.uint8), captions=captions)
    rows = choose_examples(images, np.arange(n)).tolist()
    assert 1 <= len(rows) <= MAX_EXAMPLES
    assert len(set(rows)) == len(rows)
    known = {text for text in texts if text}
    if known and len(rows) >= 4 and n <= 40:
        assert {texts[row] for row in rows[: len(known)]} == known


def test_examples_are_written_once(tmp_path):
    save_examples(Run(tmp_path), blobs(seed=0))
    first = (tmp_path / "examples.json").read_text()
    save_examples(Run(tmp_path), blobs(seed=1))
    assert (tmp_path / "examples.json").read_text() == first
    assert json.loads(first)["images"]
