"""Text metrics of captions and translations."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.captions import captions_round_robin
from pinxit.data.scenes.scene import random_scene
from pinxit.evaluation.captioning import (
    baseline_metrics,
    caption_retrieval_metrics,
    captioning_metrics,
    equivalent_captions,
    repetition_warnings,
    text_metrics,
    text_signatures,
    translation_metrics,
    translation_warnings,
)
from pinxit.evaluation.estimates import Estimate
from pinxit.models import build_model
from pinxit.models.inputs import captions_within_limit
from pinxit.models.seq2seq.config import Config
from tests.builders import blobs, values_of


def test_languages_alternate_and_images_without_caption_are_left_out():
    images = dataclasses.replace(
        blobs(3), captions={"en": ["one", "", "three"], "fr": ["un", "", "trois"]}
    )
    rows, texts = captions_round_robin(images, ("en", "fr"))
    assert rows.tolist() == [0, 2]
    assert texts == ["one", "three"]
    assert captions_round_robin(images, ("fr",))[1] == ["un", "trois"]


def test_text_metrics_of_equal_similar_and_unrelated_texts():
    references = ["a small red circle above a star", "two blue squares and a cross"]
    pairs = [(text,) for text in references]
    equal = values_of(text_metrics(references, pairs, "en"))
    assert equal["caption_exact:en"] == 1
    assert equal["bleu:en"] == pytest.approx(100)
    assert equal["chrf:en"] == pytest.approx(100)
    texts = ["a small red circle above a cross", references[1]]
    similar = values_of(text_metrics(texts, pairs, "en"))
    assert similar["caption_exact:en"] == 0.5
    assert 50 < similar["bleu:en"] < 100
    unrelated = values_of(text_metrics(["something else", "entirely so"], pairs, "en"))
    assert unrelated["bleu:en"] < 5


def test_one_caption_for_all_images_gives_a_warning():
    ratios = {"en": Estimate(0.1, 0.01), "fr": Estimate(0.9, 0.01)}
    ratios = {f"distinct_caption_ratio:{language}": ratio for language, ratio in ratios.items()}
    (warning,) = repetition_warnings(ratios)
    assert "(en)" in warning
    assert "10%" in warning


def test_captions_of_a_scene_in_any_order_are_equivalent():
    for index in range(40):
        scene = random_scene(0, index)
        for language in ("en", "fr"):
            accepted = equivalent_captions(scene, language)
            assert scene.captions()[language] in accepted
            assert len(accepted) <= math.factorial(len(scene.objects))
    scene = next(s for s in (random_scene(0, i) for i in range(40)) if len(s.objects) == 2)
    opposites = {"above": "below", "to the left of": "to the right of"}
    opposites |= {b: a for a, b in opposites.items()}
    a, b = scene.objects
    (relation,) = (r for r in opposites if f" {r} " in scene.captions()["en"])
    assert equivalent_captions(scene, "en") == {
        f"{a.english} {relation} {b.english}",
        f"{b.english} {opposites[relation]} {a.english}",
    }


def test_an_equivalent_caption_is_an_exact_match():
    accepted = [frozenset({"a and b", "b and a"})]
    metrics = values_of(text_metrics(["b and a"], [("a and b",)], "en", accepted))
    assert metrics["caption_exact:en"] == 1
    assert values_of(text_metrics(["b and a"], [("a and b",)], "en"))["caption_exact:en"] == 0


def make_texts(n: int, seed: int = 0) -> list[str]:
    """Random captions of four words."""
    words = ["red", "blue", "circle", "square", "above", "below", "left", "small", "star", "cross"]
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 4)) for _ in range(n)]


def test_each_of_several_references_counts():
    texts = ["the dog runs in the park", "a cat sleeps on the mat"]
    references = [("a dog at play here", "the dog runs in the park"), (texts[1],)]
    metrics = values_of(text_metrics(texts, references, "en"))
    assert metrics["caption_exact:en"] == 1
    assert metrics["bleu:en"] == pytest.approx(100)
    assert metrics["chrf:en"] == pytest.approx(100)


def test_bleu_and_chrf_are_those_of_sacrebleu():
    hypotheses, references = make_texts(40), make_texts(40, seed=1)
    hypotheses[:20] = references[:20]
    values = values_of(text_metrics(hypotheses, [(text,) for text in references], "en"))
    assert values["bleu:en"] == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert values["chrf:en"] == sacrebleu.corpus_chrf(hypotheses, [references]).score


def test_errors_of_chrf_are_those_of_repeated_samples_of_groups():
    """True and random captions, ten of each group, all right or all wrong."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 10)
    scores, errors, ungrouped = [], [], []
    for seed in range(25):
        references = make_texts(300, seed=seed)
        is_right = (rng.random(30) < 0.5)[groups]
        texts = np.where(is_right, references, make_texts(300, seed=100 + seed)).tolist()
        pairs = [(text,) for text in references]
        values = values_of(text_metrics(texts, pairs, "en", groups=groups))
        scores.append(values["chrf:en"])
        errors.append(values["chrf:en_error"])
        ungrouped.append(values_of(text_metrics(texts, pairs, "en"))["chrf:en_error"])
    assert 0.7 < np.mean(errors) / np.std(scores, ddof=1) < 1.4
    assert np.mean(ungrouped) < 0.6 * np.mean(errors)


def test_the_gain_over_the_baseline_is_paired():
    references = [(text,) for text in make_texts(100)]
    texts = [refs[0] if i % 2 else "red" for i, refs in enumerate(references)]
    scores = dict(text_metrics(texts, references, "en"))
    same = values_of(baseline_metrics(texts, references, scores, "en"))
    assert same["chrf_gain:en"] == same["chrf_gain:en_error"] == 0
    assert same["nn_baseline_chrf:en"] == scores["chrf:en"].value
    others = values_of(baseline_metrics(make_texts(100, seed=3), references, scores, "en"))
    gain = scores["chrf:en"].value - others["nn_baseline_chrf:en"]
    assert others["chrf_gain:en"] == pytest.approx(gain)
    assert others["chrf_gain:en_error"] > 0


def test_signatures_name_the_tokenizer_and_the_version():
    images = dataclasses.replace(
        blobs(2), captions={"en": ["one", "two"], "zh": ["一个", "两个"], "fr": ["", ""]}
    )
    signatures = text_signatures(images, ("en", "zh", "fr"))
    assert set(signatures) == {"bleu:en", "chrf:en", "bleu:zh", "chrf:zh"}
    assert f"version:{sacrebleu.__version__}" in signatures["chrf:en"]
    assert "tok:13a" in signatures["bleu:en"]
    assert "tok:zh" in signatures["bleu:zh"], "words of Chinese have no spaces between them"


class IgnoringCaptioner:
    """Finds every caption equally likely for every image."""

    def caption_log_prob_matrix(self, images, texts, language):
        return np.zeros((len(images), len(texts)))


def test_a_captioner_that_ignores_the_image_retrieves_at_random():
    images = dataclasses.replace(blobs(150), captions={"en": [f"blob {i}" for i in range(150)]})
    values = values_of(caption_retrieval_metrics(IgnoringCaptioner(), images, "en"))
    assert values["caption_retrieval_candidates:en"] == 100
    for k in (1, 5, 10):
        assert values[f"caption_recall_at_{k}:en"] == pytest.approx(k / 100)


ALPHABETS = {"en": "abc !,", "zh-Hans": "红色圆形 a", "yue": "紅色", "ja": "赤い丸", "th": "สีแดง"}
ALPHABETS |= {"my": "အနီ", "bo": "དམར", "und": "红ab สี", "pt-BR": "ação &<"}


@given(st.data())
def test_correct_texts_have_bleu_and_chrf_100(data):
    language = data.draw(st.sampled_from(list(ALPHABETS)))
    text = st.text(ALPHABETS[language], min_size=1).filter(lambda text: any(map(str.isalpha, text)))
    references = [(text,) for text in data.draw(st.lists(text, min_size=1, max_size=4))]
    metrics = values_of(text_metrics([text for (text,) in references], references, language))
    assert metrics[f"bleu:{language}"] == pytest.approx(100)
    assert metrics[f"chrf:{language}"] == pytest.approx(100)


def test_scripts_without_spaces_are_compared_by_their_characters():
    for language, text in (("zh-Hans", "红色的圆形"), ("und", "红色的圆形"), ("my", "အနီရောင်")):
        metrics = values_of(text_metrics([text[:-1]], [(text,)], language))
        assert metrics[f"bleu:{language}"] > 50, language
    assert values_of(text_metrics(["redcircl"], [("redcircle",)], "und"))["bleu:und"] == 0


@functools.cache
def text_model(direction: tuple[str, str], max_text_tokens: int):
    """An untrained model of a direction for blobs and their captions."""
    size = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1}
    config = Config(*direction, max_text_tokens=max_text_tokens, **size)
    return build_model(config, blobs(), np.arange(48))[0].eval()


PATTERN = st.lists(st.sampled_from(["none", "short", "long", "odd"]), min_size=6, max_size=6)
TEXTS = {"none": "", "short": "a blob", "long": "a blob at the top left " * 4, "odd": "\u2603"}


@settings(max_examples=15)
@given(english=PATTERN, french=PATTERN, limit=st.sampled_from([1, 2, 30]))
def test_metrics_of_texts_end_whatever_captions_are_missing(english, french, limit):
    columns = {"en": [TEXTS[kind] for kind in english], "fr": [TEXTS[kind] for kind in french]}
    images = dataclasses.replace(blobs(6), captions=columns)
    translation = text_model(("text", "text"), limit)
    rows, texts = captions_within_limit(translation, images)
    assert len(rows) == len(texts)
    images = images.take(rows)
    metrics = values_of(translation_metrics(translation, images))
    has_pair = any(map(all, zip(*images.captions.values(), strict=True)))
    assert bool(metrics) <= has_pair
    assert has_pair != bool(list(translation_warnings(translation, images)))
    list(captioning_metrics(text_model(("image", "text"), limit), images, blobs()))
