"""The text tokenizer: tokens that were trained, nothing left out unnamed, languages detected."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pinxit.data.scenes.scene import random_scene
from pinxit.data.special_tokens import EOS, PAD
from pinxit.data.text_tokenizer import (
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


def caption_words() -> list[str]:
    captions = scene_captions()
    return sorted(
        {word for column in captions.values() for text in column for word in text.split()}
    )


@settings(deadline=None, max_examples=300)
@given(text=st.text())
def test_what_a_tokenizer_leaves_out_of_a_text_is_named(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert all(tokenizer.num_special_tokens <= token < tokenizer.vocab_size for token in tokens)
    decoded = tokenizer.decode(tokens)
    normal = unicodedata.normalize("NFC", text)
    assert is_subsequence(decoded.lower().replace(" ", ""), normal.lower())
    unknown = tokenizer.unknown_words(text)
    if not unknown:
        letters = [c.lower() for c in normal if unicodedata.category(c)[0] in "LNS"]
        assert is_subsequence(letters, decoded.lower())


def is_subsequence(parts: Sequence[str], text: str) -> bool:
    characters = iter(text)
    return all(part in characters for part in parts)


@settings(deadline=None, max_examples=200)
@given(
    words=st.lists(st.sampled_from(caption_words()), max_size=8), separator=st.sampled_from(" ,")
)
def test_known_words_in_any_order_and_case_are_read(tokenizer, words, separator):
    text = separator.join(words)
    assert (
        tokenizer.decode(tokenizer.encode(text)).split()
        == tokenizer.decode(tokenizer.encode(f" {text}")).split()
    )
    assert tokenizer.unknown_words(text) == tokenizer.unknown_words(text.upper()) == []
    found = tokenizer.decode(tokenizer.encode(text.upper()))
    assert found.replace(" ", "") == text.replace(" ", "")


def test_a_word_is_read_as_the_captions_write_it():
    """Also where its parts have tokens: here those of rare words that are spelled."""
    captions = ["a red heart"] * 20 + ["eh", "ra", "t", "h", "e", "a", "r"]
    tokenizer = train_text_tokenizer({"en": captions})
    (token,) = tokenizer.encode(" heart")
    assert tokenizer.encode("heart") == tokenizer.encode("Heart") == [token]
    assert tokenizer.encode("heart red")[0] == token
    single = train_text_tokenizer({"en": ["cat", "dog"] * 5})
    assert single.decode(single.encode("a big Cat")) == "cat"
    assert single.unknown_words("a big Cat") == ["a", "big"]


@pytest.mark.parametrize(
    "text", ["<en>", "</s>", "<pad> <fr>", "<unk>", "", "  a  b\n", "é́ 🚀 中文"]
)
def test_no_text_encodes_to_a_special_token(tokenizer, text):
    ids = set(tokenizer.encode(text))
    assert not {i for i in ids if i < tokenizer.num_special_tokens or i >= tokenizer.vocab_size}
    spelled = train_text_tokenizer({"en": ["a", *text, text]})
    assert spelled.decode(spelled.encode(text)) == unicodedata.normalize("NFC", text)


def test_decoding_skips_special_tokens(tokenizer):
    tokens = [tokenizer.language_token("fr"), *tokenizer.encode("un carré"), EOS, PAD, PAD]
    assert tokenizer.decode(tokens) == "un carré"


def test_frequent_words_are_single_tokens(tokenizer):
    assert len(tokenizer.encode(" triangle")) == 1
    assert len(tokenizer.encode("a small red circle above a large blue square")) < 20


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


# -- tokens occur in training -------------------------------------------------------------------

TEMPLATES = {
    "en": ("there is a {c} {s}", "red blue green yellow", "square circle star heart"),
    "zh": ("这里有一个{c}的{s}", "红色 蓝色 绿色 黄色", "方块 圆形 星星 爱心"),
    "ja": ("ここに{c}{s}があります", "赤い 青い 緑の 黄色い", "四角 丸 星 ハート"),
    "th": ("มี{s}{c}อยู่", "สีแดง สีน้ำเงิน สีเขียว สีเหลือง", "สี่เหลี่ยม วงกลม ดาว หัวใจ"),
    "km": ("មាន{s}{c}", "ក្រហម ខៀវ បៃតង លឿង", "ការ៉េ រង្វង់ ផ្កាយ បេះដូង"),
    "ko": ("{c} {s}이 있다", "빨간 파란 초록 노란", "네모 원 별 하트"),
    "numbers": ("{c}{s}", "1 2 3 4", "5 6 7 8"),
    "emoji": ("{c}{s}", "🔴 🔵 🟢 🟡", "🟥 ⬛ ⭐ ❤️"),
}
HELD_OUT = {(0, 2), (1, 0), (2, 3)}

SCRIPTS = (
    "abcé",
    "红色方块",
    "ひらカナ漢ー",
    "สีแดงเ",
    "ក្រហម",
    "קוֹד",
    "한글말",
    "हिन्दी",
    "🔴🏽\u200d",
    "12 ,.",
)
corpora = st.lists(
    st.sampled_from(SCRIPTS).flatmap(lambda letters: st.text(letters + "  ", max_size=12)),
    min_size=1,
    max_size=12,
).filter(any)


def never_trained(tokenizer: TextTokenizer, text: str) -> list[str]:
    """Return the tokens of a text that occur in no caption."""
    counts = np.sum(list(tokenizer.token_counts.values()), 0)
    ids = (token - tokenizer.num_special_tokens for token in tokenizer.encode(text))
    return [str(tokenizer.bpe.id_to_token(i)) for i in ids if not counts[i]]


@pytest.mark.parametrize(("template", "colors", "shapes"), TEMPLATES.values(), ids=TEMPLATES.keys())
def test_new_combinations_of_known_words_consist_of_learned_tokens(template, colors, shapes):
    captions = {
        (i, j): template.format(c=c, s=s)
        for i, c in enumerate(colors.split())
        for j, s in enumerate(shapes.split())
    }
    seen = [text for key, text in captions.items() if key not in HELD_OUT]
    tokenizer = train_text_tokenizer({"und": seen * 20})
    for key in HELD_OUT:
        assert never_trained(tokenizer, captions[key]) == []
        assert tokenizer.unknown_words(captions[key]) == []


@settings(deadline=None, max_examples=60, derandomize=True)
@given(corpus=corpora, repeats=st.integers(1, 5), size=st.integers(256, 300), data=st.data())
def test_every_token_of_a_text_was_learned(corpus, repeats, size, data):
    tokenizer = train_text_tokenizer({"und": corpus * repeats}, size)
    known = sorted(set("".join(corpus)))
    text = data.draw(st.text(known, max_size=20) | st.text(max_size=20))
    assert never_trained(tokenizer, text) == []
    for caption in corpus:
        normal = unicodedata.normalize("NFC", caption)
        assert tokenizer.decode(tokenizer.encode(caption)) == normal
        assert tokenizer.unknown_words(caption) == []


@settings(deadline=None, max_examples=25, derandomize=True)
@given(corpus=corpora, text=st.text(max_size=20))
def test_unicode_forms_have_the_same_tokens(corpus, text):
    forms = {
        form: [unicodedata.normalize(form, caption) for caption in corpus]
        for form in ("NFC", "NFD")
    }
    composed, decomposed = (train_text_tokenizer({"und": forms[form]}) for form in forms)
    assert composed.to_json() == decomposed.to_json()
    assert composed.encode(text) == composed.encode(unicodedata.normalize("NFD", text))


def test_an_unknown_character_is_named_instead_of_the_sentence():
    tokenizer = train_text_tokenizer({"zh": ["红色的方块", "蓝色的圆形"]})
    assert tokenizer.unknown_words("红色的狗、方块。") == ["狗"]
    assert tokenizer.unknown_words("红方🚀 x") == ["🚀", "x"]


def test_lone_surrogates_are_replaced():
    tokenizer = train_text_tokenizer({"en": ["a \udcff b", "\ud83d\ude80"]})
    assert tokenizer.decode(tokenizer.encode("a\udcff b\ud83d\ude80")) == "a\ufffd b🚀"
    assert tokenizer.unknown_words("🚀") == []


def test_words_without_the_space_before_them_change_no_text(tokenizer):
    """A tokenizer whose words were stored without it, as some older runs have them."""
    record = tokenizer.to_json()
    record["words"] = sorted({word.strip() for word in record["words"]})
    del record["words_have_spaces"]
    older, text = TextTokenizer.from_json(record), "a large red star above a small blue circle"
    assert older.encode(text) == tokenizer.encode(text)
    assert older.unknown_words(text) == []


def test_a_tokenizer_of_an_older_run_loads():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    bpe.train_from_iterator(["a red square"], trainers.BpeTrainer(show_progress=False))
    counts = [0] * bpe.get_vocab_size()
    for token in bpe.encode("a red square").ids:
        counts[token] += 1
    record = {"bpe": json.loads(bpe.to_str()), "languages": ["en"], "token_counts": {"en": counts}}
    tokenizer = TextTokenizer.from_json(record)
    assert [token - 3 for token in tokenizer.encode("a red square")] == bpe.encode(
        "a red square"
    ).ids
    assert tokenizer.unknown_words("a zebra square") == ["zebra"]
    assert TextTokenizer.from_json(tokenizer.to_json()).encode("red") == tokenizer.encode("red")


@given(st.lists(st.text(alphabet="ab ,é́방\u1112\u1161方ก", max_size=6), max_size=5))
def test_a_list_has_the_tokens_of_its_parts(parts):
    tokenizer = train_text_tokenizer({"en": ["a, b", "ab, é ก", "방 方,ab"]}, 400)
    text = ", ".join(parts)
    whole = tokenizer._encode_anew(text)
    assert tokenizer._encode(text) == whole
    first, rest = parts[:1], parts[1:]
    assert sum(map(len, map(tokenizer.encode, [*first, *(f", {p}" for p in rest)]))) == len(whole)
