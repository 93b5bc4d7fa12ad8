"""Text metrics of captions and translations."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pinxit.data.captions import captions_round_robin
from pinxit.data.scenes.scene import random_scene
from pinxit.evaluation.captioning import equivalent_captions, repetition_warnings, text_metrics
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
    ratios = {"distinct_caption_ratio:en": 0.1, "distinct_caption_ratio:fr": 0.9}
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


def test_each_of_several_references_counts():
    texts = ["the dog runs in the park", "a cat sleeps on the mat"]
    references = [("a dog at play here", "the dog runs in the park"), (texts[1],)]
    metrics = values_of(text_metrics(texts, references, "en"))
    assert metrics["caption_exact:en"] == 1
    assert metrics["bleu:en"] == pytest.approx(100)
    assert metrics["chrf:en"] == pytest.approx(100)
