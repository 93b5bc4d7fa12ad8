"""Words: any text comes back, marks are no text, languages are told apart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.scenes.scene import random_scene
from pinxit.data.text_tokenizer import EOS, PAD, TextTokenizer, train_text_tokenizer
from pinxit.errors import UsageError


def captions(count: int = 300) -> dict[str, list[str]]:
    found = [random_scene(0, i).captions() for i in range(count)]
    return {language: [one[language] for one in found] for language in ("fr", "en")}


@pytest.fixture(scope="module")
def words() -> TextTokenizer:
    return train_text_tokenizer(captions(), size=400)


@settings(deadline=None, max_examples=300)
@given(text=st.text())
def test_any_unicode_comes_back_unchanged(words, text):
    numbers = words.encode(text)
    assert words.decode(numbers) == text
    assert all(words.first <= number < words.size for number in numbers)


@pytest.mark.parametrize("text", ["<en>", "</s>", "<pad> <fr>", "", "  a  b\n", "é́ 👩🏽‍🚀 中文"])
def test_texts_that_look_like_marks_are_texts(words, text):
    assert words.decode(words.encode(text)) == text
    assert not set(words.encode(text)) & {
        PAD,
        EOS,
        words.language_token("en"),
        words.language_token("fr"),
    }


def test_marks_are_left_out_of_the_text(words):
    numbers = [words.language_token("fr"), *words.encode("un carré"), EOS, PAD, PAD]
    assert words.decode(numbers) == "un carré"


def test_frequent_words_are_single_pieces(words):
    assert len(words.encode(" triangle")) == 1
    assert len(words.encode("a small red circle above a large blue square")) < 16


def test_languages_are_told_apart(words):
    assert words.languages == ("en", "fr")
    held_out = [random_scene(1, i).captions() for i in range(200)]
    right = [words.detect_language(one[name]) == name for one in held_out for name in ("en", "fr")]
    assert sum(right) > 0.99 * len(right)
    assert words.language_token("en") != words.language_token("fr")
    with pytest.raises(UsageError, match=r"no language 'de' .* there are: en, fr"):
        words.language_token("de")


def test_they_travel_as_json_and_are_repeatable(words):
    again = TextTokenizer.from_json(json.loads(json.dumps(words.to_json())))
    text = "une grande étoile verte à gauche"
    assert again.encode(text) == words.encode(text)
    assert again.size == words.size
    assert again.detect_language(text) == "fr"
    assert train_text_tokenizer(captions(), size=400).to_json() == words.to_json()


def test_without_captions_there_are_no_words():
    with pytest.raises(UsageError, match="no captions"):
        train_text_tokenizer({"en": ["", ""]})


def test_words_that_stood_in_no_caption_are_told(words):
    assert words.unknown_words("a zebra, a hovercraft") == ["zebra", "hovercraft"]
    assert words.unknown_words("star: red, a circle!") == [], "wherever they stand"
    assert words.unknown_words("") == []


def test_no_word_of_the_captions_is_strange(words):
    told = captions()
    assert not [text for texts in told.values() for text in texts if words.unknown_words(text)]
