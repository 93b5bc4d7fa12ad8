"""Captions from labels: built-in templates, a file of templates, and errors."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('{ en = "top left" }', '"top left"', "'north-west' in [mine.labels] needs a text for"),
        ('{ en = "top left" }', '{ en = " " }', "no text for 'north-west' in 'en'"),
        ('template = { en = "a blob in the {}" }', 'template = "a {}"', "`template` of [mine]"),
        ('template = { en = "a blob in the {}" }', "template = { en = 3 }", "`template` of [mine]"),
        ('template = { en = "a blob in the {}" }', "template = {}", "`template` of [mine]"),
        (CUSTOM_TEMPLATES, '[a]\ntemplate = { en = "{}" }\nlabels = ["cat"]', "`labels` of [a] in"),
        (
            "a blob in the {}",
            "a blob",
            "[mine] in the caption templates has no {} in 'en'",
        ),
        (
            "south-west = {",
            '[yours]\ntemplate = { en = "{}" }\n[yours.labels]\nsouth-west = {',
            "spread over [mine] and [yours]",
        ),
        (CUSTOM_TEMPLATES, "a = " + "9" * 5000, "cannot read the caption templates"),
    ],
)
def test_templates_of_another_form_are_refused_with_the_right_one(old, new, words, tmp_path):
    file = tmp_path / "labels.toml"
    assert old in CUSTOM_TEMPLATES
    file.write_text(CUSTOM_TEMPLATES.replace(old, new))
    with pytest.raises(UsageError) as raised:
        captions_from_labels(blobs_without_captions(4), file)
    assert words in str(raised.value)


KEYS = st.sampled_from(["mine", "template", "labels", "en", "fr", *blobs(1).label_names])
VALUES = st.recursive(
    st.sampled_from(["a {}", "", "top", 3, 0.5, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=5),
)


def to_toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value)


TEXTS = st.dictionaries(st.sampled_from(["en", "fr"]), VALUES, max_size=2) | VALUES
LABELS = st.fixed_dictionaries(dict.fromkeys(blobs(1).label_names, TEXTS)) | VALUES
TABLE = st.fixed_dictionaries({"template": TEXTS, "labels": LABELS}) | VALUES


@given(st.dictionaries(KEYS, TABLE, max_size=3))
def test_any_toml_gives_captions_or_a_usage_error(tables):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.toml"
        file.write_text("\n".join(f"{key} = {to_toml(item)}" for key, item in tables.items()))
        try:
            captions = captions_from_labels(blobs_without_captions(4), file).captions
        except UsageError:
            return
    assert captions
    assert all(all(texts) for texts in captions.values())


def test_a_file_for_images_with_captions_is_read_and_noted(tmp_path):
    images, file = blobs(4), tmp_path / "labels.toml"
    with pytest.raises(UsageError, match="there is no file of caption templates"):
        captions_from_labels(images, file)
    file.write_text(CUSTOM_TEMPLATES)
    noted = captions_from_labels(images, file)
    assert noted.captions == images.captions
    assert noted.notes == (
        f"the caption templates in {file} are not used: the images have captions",
    )
    assert captions_from_labels(images) is images


@given(
    template=st.dictionaries(
        st.sampled_from(["en", "fr", "de"]), st.sampled_from(["{}", "a {}", "a", "un {} {}"]),
        min_size=1,
    ),
    languages=st.sets(st.sampled_from(["en", "fr", "de", "pt-BR"]), min_size=1),
)  # fmt: skip
def test_labels_differ_in_every_language_and_no_language_is_dropped_in_silence(template, languages):
    labels = blobs(1).label_names
    texts = {label: {k: f"{k} {i}" for k in sorted(languages)} for i, label in enumerate(labels)}
    tables = {"mine": {"template": template, "labels": texts}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.toml"
        file.write_text("\n".join(f"{key} = {to_toml(item)}" for key, item in tables.items()))
        images = dataclasses.replace(blobs_without_captions(8), notes=())
        if set(template) - languages or any("{}" not in text for text in template.values()):
            with pytest.raises(UsageError, match=r"has no (\{\}|text)") as raised:
                captions_from_labels(images, file)
            assert len(str(raised.value).splitlines()) <= 2
            return
        captioned = captions_from_labels(images, file)
    assert set(captioned.captions) == set(template)
    for captions in captioned.captions.values():
        assert len(set(captions)) == len(set(images.labels.tolist())) > 1
    unused = sorted(languages - set(template))
    assert captioned.notes == ((f"[mine] has no template in {' and '.join(unused)}: "
                                "label texts not used",) if unused else ())  # fmt: skip
