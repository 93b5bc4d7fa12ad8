"""Captions: columns, file names, and one caption per image."""

from __future__ import annotations

import dataclasses

import pytest

from pinxit.data.captions import (
    caption_columns,
    captions_round_robin,
    parse_caption_filename,
    parse_captions,
)
from tests.builders import blobs


def test_caption_columns_are_found_by_language():
    columns = ["text", "caption", "caption_fr", "text_fr", "text_de", "label", "caption_"]
    assert caption_columns(columns) == {"und": "caption", "fr": "caption_fr", "de": "text_de"}


def test_the_first_caption_of_a_list_is_taken_and_empty_ones_are_dropped():
    row = {"caption": ["a  cat\n", "a pet"], "caption_fr": " ", "caption_de": [], "text_es": 3}
    assert parse_captions(row) == {"und": "a cat"}


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("cat.fr.txt", ("cat", "fr")),
        ("a/cat.txt", ("a/cat", "und")),
        ("cat.v2.txt", ("cat.v2", "und")),
        ("cat.deu.txt", ("cat", "deu")),
    ],
)
def test_the_language_is_read_from_the_file_name(name, parsed):
    assert parse_caption_filename(name) == parsed


def test_images_take_turns_between_languages():
    captions = {"en": ["one", "", "three", "four"], "fr": ["un", "", "trois", ""]}
    images = dataclasses.replace(blobs(4), captions=captions)
    rows, texts = captions_round_robin(images, ("fr", "en", "de"))
    assert rows.tolist() == [0, 2, 3]
    assert texts == ["un", "trois", "four"]
    rows, texts = captions_round_robin(images, ("en", "fr"))
    assert texts == ["one", "three", "four"]
