"""Captions from labels: built-in templates, a file of templates, and errors."""

from __future__ import annotations

import dataclasses
import unicodedata

import numpy as np
import pytest

from pinxit.data.label_captions import captions_from_labels
from pinxit.data.sources.named import FASHION_MNIST_LABELS
from pinxit.errors import UsageError
from tests.builders import blobs

CUSTOM_TEMPLATES = """
[mine]
template = { en = "a blob in the {}" }

[mine.labels]
north-west = { en = "top left" }
north-east = { en = "top right" }
south-west = { en = "bottom left" }
south-east = { en = "bottom right" }
"""


def blobs_without_captions(count: int):
    return dataclasses.replace(blobs(count), captions={})


def blobs_with_labels(*names: str):
    labels = np.arange(-1, len(names), dtype=np.int64)
    return dataclasses.replace(
        blobs_without_captions(len(labels)), labels=labels, label_names=names
    )


def test_built_in_captions_have_the_right_articles():
    captions = captions_from_labels(blobs_with_labels(*FASHION_MNIST_LABELS)).captions
    assert captions["en"][8] == "a photo of a sneaker"
    assert captions["fr"][8] == "une photo d'une basket"
    assert captions["en"][10] == "a photo of an ankle boot"
    assert captions["en"][0] == captions["fr"][0] == "", "an image without a label"
    captions = captions_from_labels(blobs_with_labels("bird", "frog")).captions
    assert captions["fr"][1:] == ["une photo d'un oiseau", "une photo d'une grenouille"]
    captions = captions_from_labels(blobs_with_labels(*map(str, range(10)))).captions
    assert captions["en"][4] == "a handwritten three"
    assert captions["fr"][4] == "un trois écrit à la main"


def test_captions_from_a_file_of_templates(tmp_path):
    file = tmp_path / "labels.toml"
    file.write_text(CUSTOM_TEMPLATES)
    images = blobs_without_captions(4)
    captions = captions_from_labels(images, file).captions
    positions = ["top left", "top right", "bottom left", "bottom right"]
    assert list(captions["en"]) == [f"a blob in the {positions[k]}" for k in images.labels]
    file.write_text(CUSTOM_TEMPLATES.replace("south-east", "south-easter"))
    with pytest.raises(UsageError, match=r"no text for 'south-east'.*Did you mean 'south-easter'"):
        captions_from_labels(images, file)
    file.write_text("[mine")
    with pytest.raises(UsageError, match="cannot read the caption templates"):
        captions_from_labels(images, file)
    with pytest.raises(UsageError, match=r"templates in .*: Is a directory\.") as error:
        captions_from_labels(images, tmp_path)
    assert "Errno" not in str(error.value)
    with pytest.raises(
        UsageError, match=r"there is no file of caption templates .*nofile"
    ) as error:
        captions_from_labels(images, tmp_path / "nofile")
    assert "Errno" not in str(error.value)
    file.write_text("mine = 3")
    with pytest.raises(UsageError, match="needs `template` and `labels`"):
        captions_from_labels(images, file)


def test_existing_captions_are_kept():
    images = dataclasses.replace(blobs(2), captions={"en": ["one", "two"]})
    assert captions_from_labels(images) is images


def test_missing_labels_or_templates_are_errors():
    with pytest.raises(UsageError, match="neither captions nor labels"):
        captions_from_labels(dataclasses.replace(blobs_without_captions(2), labels=None))
    with pytest.raises(UsageError, match="no built-in captions for the labels north-west"):
        captions_from_labels(blobs_without_captions(2))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_labels_and_templates_are_compared_in_one_unicode_form(tmp_path, form):
    labels = tuple(unicodedata.normalize("NFC", name) for name in ("café", "thé"))
    images = dataclasses.replace(
        blobs(4), captions={}, labels=np.array([0, 1, 1, 0]), label_names=labels
    )
    table = '[drinks]\ntemplate = {fr = "un {}"}\n[drinks.labels]\n"café" = {fr = "café"}\n'
    table += '"thé" = {fr = "thé"}\n'
    file = tmp_path / "drinks.toml"
    file.write_text(unicodedata.normalize(form, table), encoding="utf-8")
    assert captions_from_labels(images, file).captions == {
        "fr": ["un café", "un thé", "un thé", "un café"]
    }
