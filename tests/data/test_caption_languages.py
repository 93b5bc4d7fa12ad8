"""`--languages`: the captions and keywords of some languages."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.load import load_images
from pinxit.errors import UsageError

LANGUAGES = ("en", "fr", "pt-BR")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("captioned")
    rows = []
    for i in range(4):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(root / f"{i}.png")
        captions = {f"caption_{code.replace('-', '_')}": f"{code} {i}" for code in LANGUAGES}
        rows.append({"file_name": f"{i}.png", **captions, "keywords_fr": ["a", "b"]})
    (root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


@pytest.mark.parametrize(
    "chosen", [c for n in (1, 2, 3) for c in itertools.permutations(LANGUAGES, n)]
)
def test_captions_and_keywords_are_of_the_languages(folder, chosen):
    everything = load_images(folder, progress=False)
    images = load_images(folder, languages=" , ".join(chosen).lower(), progress=False)
    assert set(images.captions) == set(chosen)
    for code in chosen:
        assert list(images.captions[code]) == list(everything.captions[code])
    assert set(images.keywords) == {"fr"} & set(chosen)
    assert (images.pixels == everything.pixels).all()


def test_list_of_languages(folder):
    assert set(load_images(folder, languages=["fr", "en"], progress=False).captions) == {"fr", "en"}


@given(st.sampled_from(["de", "en,de", "en_gb", "xx", "eng"]))
def test_language_that_is_not_there(folder, languages):
    with pytest.raises(UsageError, match=r"no captions in '.*'; they are in en fr pt-BR"):
        load_images(folder, languages=languages, progress=False)


@pytest.mark.parametrize("languages", ["", " ", ",,"])
def test_no_language(folder, languages):
    with pytest.raises(UsageError, match="--languages names languages"):
        load_images(folder, languages=languages, progress=False)


def test_captions_from_labels():
    images = load_images("digits", captions="labels", languages="fr", progress=False)
    assert set(images.captions) == {"fr"}
