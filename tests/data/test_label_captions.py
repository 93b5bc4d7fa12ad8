"""Captions from labels: the shipped ones, a user's own file, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pinxit.data.label_captions import captions_from_labels
from pinxit.data.sources.named import FASHION_MNIST_LABELS
from pinxit.errors import UsageError
from tests.builders import blobs

OWN = """
[mine]
template = { en = "a blob in the {}" }

[mine.labels]
north-west = { en = "top left" }
north-east = { en = "top right" }
south-west = { en = "bottom left" }
south-east = { en = "bottom right" }
"""


def wordless(count: int):
    return dataclasses.replace(blobs(count), captions={})


def labelled(*names: str):
    labels = np.arange(-1, len(names), dtype=np.int64)
    return dataclasses.replace(wordless(len(labels)), labels=labels, label_names=names)


def test_clothes_and_animals_have_their_articles():
    captions = captions_from_labels(labelled(*FASHION_MNIST_LABELS)).captions
    assert captions["en"][8] == "a photo of a sneaker"
    assert captions["fr"][8] == "une photo d'une basket"
    assert captions["en"][10] == "a photo of an ankle boot"
    assert captions["en"][0] == captions["fr"][0] == "", "an image without a label"
    captions = captions_from_labels(labelled("bird", "frog")).captions
    assert captions["fr"][1:] == ["une photo d'un oiseau", "une photo d'une grenouille"]
    captions = captions_from_labels(labelled(*map(str, range(10)))).captions
    assert captions["en"][4] == "a handwritten three"
    assert captions["fr"][4] == "un trois écrit à la main"


def test_a_file_of_one_s_own(tmp_path):
    file = tmp_path / "labels.toml"
    file.write_text(OWN)
    images = wordless(4)
    captions = captions_from_labels(images, file).captions
    wanted = ["top left", "top right", "bottom left", "bottom right"]
    assert list(captions["en"]) == [f"a blob in the {wanted[k]}" for k in images.labels]
    file.write_text(OWN.replace("south-east", "south-easter"))
    with pytest.raises(UsageError, match=r"no words for 'south-east'.*Did you mean 'south-easter'"):
        captions_from_labels(images, file)
    file.write_text("[mine")
    with pytest.raises(UsageError, match="cannot be read"):
        captions_from_labels(images, file)
    file.write_text("mine = 3")
    with pytest.raises(UsageError, match="needs `template` and `labels`"):
        captions_from_labels(images, file)


def test_captions_that_are_there_stay():
    images = dataclasses.replace(blobs(2), captions={"en": ["one", "two"]})
    assert captions_from_labels(images) is images


def test_without_labels_or_words_it_says_so():
    with pytest.raises(UsageError, match="neither captions nor labels"):
        captions_from_labels(dataclasses.replace(wordless(2), labels=None))
    with pytest.raises(UsageError, match="no captions are shipped for the labels north-west"):
        captions_from_labels(wordless(2))
