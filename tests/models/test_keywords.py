"""Keywords are texts of models that draw, in training only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.data.text_tokenizer import train_text_tokenizer
from pinxit.errors import UsageError
from pinxit.models import flow, seq2seq
from pinxit.models.caption_batch import sample_captions, sample_training_texts
from pinxit.models.text_embedding import TextEmbedding
from tests.builders import blobs

KEYWORDS = ["ab", "cd", "ef", "gh", "ij"]
SMALL = {"width": 16, "heads": 1, "max_text_tokens": 24}
FLOW = {**SMALL, "depth": 1, "text_depth": 1, "caption_dropout": 0.0, "mask_share": 0.0}
SEQ2SEQ = {**SMALL, "depth": 1, "decoder_depth": 1, "caption_dropout": 0.0}


def keyword_images(n: int = 48) -> Images:
    """Blobs with two English and no French keywords each."""
    images = blobs(n)
    return dataclasses.replace(images, keywords={"en": [("fog", "round")] * n})


def build(family, images: Images, **options):
    rows = images.split_indices("train")
    info = images.info(rows)
    config = family.Config(**options).resolve(info)
    torch.manual_seed(0)
    config, fitted = family.prepare(config, info, images, rows, 0)
    model = family.build(config, info)
    missing = model.load_state_dict(fitted, strict=False)
    assert not missing.unexpected_keys
    return model


def read_texts(model, images: Images, monkeypatch, *, training: bool) -> set[str]:
    """The texts that losses of a model read."""
    texts: set[str] = set()
    tokenize = TextEmbedding.tokenize

    def record(self, rows, languages, truncate=False):
        texts.update(rows)
        return tokenize(self, rows, languages, truncate)

    monkeypatch.setattr(TextEmbedding, "tokenize", record)
    model.train(training)
    with torch.no_grad():
        for _ in range(40):
            model.loss(images.batch(np.arange(len(images))))
    return texts


DRAWING = pytest.mark.parametrize(
    ("family", "options"),
    [(flow, FLOW), (seq2seq, {**SEQ2SEQ, "palette_size": 4})],
    ids=["flow", "seq2seq"],
)


@DRAWING
def test_models_that_draw_read_keywords_in_training_and_captions_in_evaluation(
    family, options, monkeypatch
):
    images = keyword_images()
    captions = {text for column in images.captions.values() for text in column}
    model = build(family, images, keyword_share=0.5, **options)
    texts = read_texts(model, images, monkeypatch, training=True)
    keywords = {"fog", "round", "fog, round", "round, fog"}
    english = [text for text in captions if text.startswith("a blob")]
    assert texts == captions | keywords | {f"{a}, {b}" for a in english for b in keywords}
    assert read_texts(model, images, monkeypatch, training=False) == captions


@DRAWING
def test_keyword_share_0_reads_captions_only(family, options, monkeypatch):
    images = keyword_images()
    model = build(family, images, keyword_share=0.0, **options)
    texts = read_texts(model, images, monkeypatch, training=True)
    assert texts == {text for column in images.captions.values() for text in column}
    assert model.text_tokenizer.unknown_words("fog") == ["fog"]


@DRAWING
def test_words_of_keywords_are_known_to_models_that_draw(family, options):
    model = build(family, keyword_images(), **options)
    assert model.text_tokenizer.unknown_words("round, fog, xylophone") == ["xylophone"]


@DRAWING
@pytest.mark.parametrize("training", [True, False])
def test_losses_without_keywords_do_not_depend_on_the_option(family, options, training):
    images = blobs(48)
    losses = []
    for share in (0.0, 1.0):
        model = build(family, images, keyword_share=share, **options).train(training)
        torch.manual_seed(1)
        losses.append(model.loss(images.batch(np.arange(48))).total.item())
    assert losses[0] == losses[1]


@DRAWING
def test_the_validation_loss_does_not_depend_on_keywords(family, options):
    images = keyword_images()
    model = build(family, images, **options).eval()
    losses = []
    for batch in (images.batch(np.arange(48)), blobs(48).batch(np.arange(48))):
        torch.manual_seed(1)
        losses.append(model.loss(batch).total.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("source", ["image", "text", "image+text"])
def test_captioning_translation_and_editing_never_read_keywords(source, monkeypatch):
    images = keyword_images()
    target = "image" if source == "image+text" else "text"
    model = build(seq2seq, images, source=source, target=target, palette_size=4, **SEQ2SEQ)
    texts = read_texts(model, images, monkeypatch, training=True)
    assert texts == {text for column in images.captions.values() for text in column}
    assert model.text_tokenizer.unknown_words("fog") == ["fog"]


def sample(images: Images, max_tokens: int = 99, keyword_share: float = 0.5, n: int = 40):
    """The texts and languages of n batches of all images."""
    texts = [*images.captions["en"], *(k for row in images.keywords["en"] for k in row), "a, b"]
    tokenizer = train_text_tokenizer({"en": texts, "fr": texts})
    batch = images.batch(np.arange(len(images)))
    torch.manual_seed(0)
    sampled = [sample_training_texts(batch, tokenizer, max_tokens, keyword_share) for _ in range(n)]
    return [pair for texts in sampled for pair in zip(*texts, strict=True)], tokenizer


def test_the_share_of_texts_with_keywords_is_the_option():
    images = keyword_images()
    english = dataclasses.replace(images, captions={"en": images.captions["en"]})
    for share in (0.0, 0.3, 1.0):
        pairs, _ = sample(english, keyword_share=share)
        with_keywords = [text for text, _ in pairs if "fog" in text or "round" in text]
        alone = [text for text in with_keywords if not text.startswith("a blob")]
        assert len(with_keywords) / len(pairs) == pytest.approx(share, abs=0.04)
        assert len(alone) / len(pairs) == pytest.approx(share / 2, abs=0.04)


def test_images_without_a_caption_have_keywords():
    images = dataclasses.replace(blobs(2), captions={"en": ["one", ""], "fr": ["un", ""]})
    keywords = {"en": [(), ()], "fr": [(), ("brume",)]}
    pairs, _ = sample(dataclasses.replace(images, keywords=keywords), keyword_share=0.1)
    assert set(pairs) == {("one", "en"), ("un", "fr"), ("brume", "fr")}


@given(st.lists(st.sampled_from(KEYWORDS), min_size=1, unique=True), st.data())
def test_texts_fit_into_the_model_and_have_whole_keywords(keywords, data):
    images = dataclasses.replace(
        blobs(1), captions={"en": ["a red thing"]}, keywords={"en": [tuple(keywords)]}
    )
    max_tokens = data.draw(st.integers(3, 20))
    pairs, tokenizer = sample(images, max_tokens, keyword_share=1.0, n=10)
    for text, _ in pairs:
        assert len(tokenizer.encode(text)) <= max_tokens
        parts = text.removeprefix("a red thing").removeprefix(", ").split(", ")
        assert set(parts) - {""} <= set(keywords)
        assert len(set(parts)) == len(parts)


def test_sets_without_keywords_have_the_random_numbers_of_captions():
    images = blobs(20)
    batch = images.batch(np.arange(20))
    tokenizer = train_text_tokenizer({k: list(v) for k, v in images.captions.items()})
    torch.manual_seed(3)
    captions, _ = sample_captions(batch, tokenizer.languages)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    assert sample_training_texts(batch, tokenizer, 24, 0.5) == captions
    assert torch.equal(torch.get_rng_state(), state)


def test_the_longest_text_counts_keywords_and_keywords_in_another_language_are_noted(capsys):
    images = blobs(48)
    keywords = {"en": [tuple(f"word {i}" for i in range(12))] * 48, "de": [("Nebel",)] * 48}
    images = dataclasses.replace(images, keywords=keywords)
    options = {**FLOW, "max_text_tokens": None}
    with_keywords, without = (
        build(flow, images, keyword_share=share, **options) for share in (1.0, 0.0)
    )
    longest = f"{images.captions['en'][0]}, {', '.join(keywords['en'][0])}"
    assert len(with_keywords.text_tokenizer.encode(longest)) <= with_keywords.max_text_tokens
    assert without.max_text_tokens < with_keywords.max_text_tokens
    note = "keywords in de are not used: no captions are in that language\n"
    assert capsys.readouterr().err.count(note) == 1


@pytest.mark.parametrize("share", [-0.1, 1.1])
@pytest.mark.parametrize("family", [flow, seq2seq])
def test_a_share_out_of_range_is_an_error(family, share):
    with pytest.raises(UsageError, match="keyword_share must be from 0 to 1"):
        family.Config(keyword_share=share)
