"""The text tokenizer: lossless for any text, special tokens apart, languages detected."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.scenes.scene import random_scene
from pinxit.data.text_tokenizer import (
    EOS,
    PAD,
    TextTokenizer,
    byte_level_tokenizer,
    train_text_tokenizer,
)
from pinxit.errors import UsageError


def scene_captions(count: int = 300) -> dict[str, list[str]]:
    captions = [random_scene(0, i).captions() for i in range(count)]
    return {language: [caption[language] for caption in captions] for language in ("fr", "en")}


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_text_tokenizer(scene_captions(), vocab_size=400)


@settings(deadline=None, max_examples=300)
@given(text=st.text())
def test_decoding_an_encoded_text_gives_the_same_text(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert all(tokenizer.num_special_tokens <= token < tokenizer.vocab_size for token in tokens)


@pytest.mark.parametrize("text", ["<en>", "</s>", "<pad> <fr>", "", "  a  b\n", "é́ 👩🏽‍🚀 中文"])
def test_no_text_encodes_to_a_special_token(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not set(tokenizer.encode(text)) & {
        PAD,
        EOS,
        tokenizer.language_token("en"),
        tokenizer.language_token("fr"),
    }


def test_decoding_skips_special_tokens(tokenizer):
    tokens = [tokenizer.language_token("fr"), *tokenizer.encode("un carré"), EOS, PAD, PAD]
    assert tokenizer.decode(tokens) == "un carré"


def test_frequent_words_are_single_tokens(tokenizer):
    assert len(tokenizer.encode(" triangle")) == 1
    assert len(tokenizer.encode("a small red circle above a large blue square")) < 16


def test_the_language_of_a_text_is_detected(tokenizer):
    assert tokenizer.languages == ("en", "fr")
    held_out = [random_scene(1, i).captions() for i in range(200)]
    correct = [
        tokenizer.detect_language(caption[name]) == name
        for caption in held_out
        for name in ("en", "fr")
    ]
    assert sum(correct) > 0.99 * len(correct)
    assert tokenizer.language_token("en") != tokenizer.language_token("fr")
    with pytest.raises(UsageError, match=r"no language 'de' .* there are: en, fr"):
        tokenizer.language_token("de")


def test_a_tokenizer_survives_json_and_training_is_repeatable(tokenizer):
    loaded = TextTokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    text = "une grande étoile verte à gauche"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.detect_language(text) == "fr"
    retrained = train_text_tokenizer(scene_captions(), vocab_size=400)
    assert retrained.to_json() == tokenizer.to_json()


def test_training_without_captions_is_an_error():
    with pytest.raises(UsageError, match="no captions"):
        train_text_tokenizer({"en": ["", ""]})


def test_an_untrained_tokenizer_encodes_bytes():
    tokenizer = byte_level_tokenizer(("en",))
    assert len(tokenizer.encode("é!")) == 3
    assert tokenizer.decode(tokenizer.encode("é!")) == "é!"


def test_words_that_never_occur_in_the_captions_are_unknown(tokenizer):
    assert tokenizer.unknown_words("a zebra, a hovercraft") == ["zebra", "hovercraft"]
    assert tokenizer.unknown_words("star: red, a circle!") == [], "at any position"
    assert tokenizer.unknown_words("") == []


def test_all_words_of_the_captions_are_known(tokenizer):
    captions = scene_captions()
    texts = [text for column in captions.values() for text in column]
    assert not [text for text in texts if tokenizer.unknown_words(text)]
