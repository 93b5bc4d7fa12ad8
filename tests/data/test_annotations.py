"""The line that says which captions and labels there are."""

from __future__ import annotations

import dataclasses

import numpy as np

from pinxit.data.annotations import describe_annotations
from pinxit.training.api import train
from tests.builders import blobs


def test_captions_and_labels_are_counted():
    images = dataclasses.replace(blobs(4), labels=None, label_names=(), captions={})
    assert describe_annotations(images) == "no captions, no labels"
    labels = np.array([0, 1, 2, -1])
    labeled = dataclasses.replace(images, labels=labels, label_names=("a", "b", "c"))
    assert describe_annotations(labeled) == "labels: 3 classes of 3 of 4 images"
    captions = {"en": ["one", "", "two", "three"], "fr": ["un", "", "", ""]}
    captioned = dataclasses.replace(images, captions=captions)
    assert describe_annotations(captioned) == "captions: 3 of 4 images, en 3, fr 1"


def test_a_training_begins_with_them(tmp_path, capsys):
    images = dataclasses.replace(blobs(12), captions={"en": ["a blob"] * 12})
    train("vae", images, out=tmp_path / "run", steps=1)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("captions: 12 of 12 images, en 12")
