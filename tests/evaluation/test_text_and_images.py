"""Words and images judged: what is right is told from what is not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pinxit.data.captions import captions_round_robin
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.scenes.edits import random_edit
from pinxit.data.scenes.scene import Scene, random_scene
from pinxit.evaluation.captioning import repetition_warnings, text_metrics
from pinxit.evaluation.editing import check_edit, edit_metrics
from pinxit.evaluation.metrics import get_metric, group_metrics, sort_metric_names
from pinxit.evaluation.text_to_image import text_to_image_metrics
from tests.builders import blobs


@pytest.fixture(scope="module")
def shapes():
    return load_images("shapes:60", size=64, progress=False, cache=False)


def test_true_images_are_drawn_right_and_others_are_not(shapes):
    found = dict(text_to_image_metrics(Images(shapes.pixels), shapes))
    assert found["t2i_exact"] == found["t2i_reader_ceiling"] > 0.95
    wrong = dict(text_to_image_metrics(Images(np.roll(shapes.pixels, 1, 0)), shapes))
    assert wrong["t2i_exact"] < 0.1
    assert wrong["t2i_count"] > wrong["t2i_exact"]
    assert wrong["t2i_exact_error"] < 0.05


def test_images_that_are_no_scenes_have_no_such_figures():
    assert not dict(text_to_image_metrics(blobs(), blobs()))


def test_captions_are_taken_in_turn_and_images_without_are_left_out():
    images = dataclasses.replace(
        blobs(3), captions={"en": ["one", "", "three"], "fr": ["un", "", "trois"]}
    )
    rows, texts = captions_round_robin(images, ("en", "fr"))
    assert rows.tolist() == [0, 2]
    assert texts == ["one", "three"]
    assert captions_round_robin(images, ("fr",))[1] == ["un", "trois"]


def test_words_that_match_and_words_that_do_not():
    true = ["a small red circle above a star", "two blue squares and a cross"]
    same = dict(text_metrics(true, true, "en"))
    assert same["caption_exact:en"] == 1
    assert same["bleu:en"] == pytest.approx(100)
    assert same["chrf:en"] == pytest.approx(100)
    near = dict(text_metrics(["a small red circle above a cross", true[1]], true, "en"))
    assert near["caption_exact:en"] == 0.5
    assert 50 < near["bleu:en"] < 100
    far = dict(text_metrics(["something else", "entirely so"], true, "en"))
    assert far["bleu:en"] < 5


def test_one_caption_for_all_images_is_told():
    (line,) = repetition_warnings(
        {"distinct_caption_ratio:en": 0.1, "distinct_caption_ratio:fr": 0.9}
    )
    assert "(en)" in line
    assert "10%" in line


def test_an_edit_is_the_change_and_nothing_else():
    pairs = load_images("shapes-edits:30", size=64, progress=False, cache=False)
    made = dict(edit_metrics(Images(pairs.pixels), pairs))
    assert made["edit_exact"] == made["edit_reader_ceiling"] > 0.9
    assert made["edit_psnr"] > 60
    none = dict(edit_metrics(Images(pairs.before), pairs))
    assert none["edit_exact"] == 0
    assert none["edit_applied"] == 0
    assert none["edit_preserved"] > 0.9
    assert none["edit_psnr"] == none["identity_psnr"] < 40


def test_changes_tell_what_was_asked_from_what_was_kept():
    made = next(random_edit(0, i) for i in range(100) if len(random_edit(0, i).before.objects) == 3)
    assert check_edit(made, made.after) == (True, True)
    assert check_edit(made, made.before)[0] is False
    kept = [thing for thing in made.after.objects if thing in made.before.objects]
    less = Scene(tuple(thing for thing in made.after.objects if thing is not kept[0]))
    assert check_edit(made, less)[1] is False
    assert check_edit(made, random_scene(99, 99)) == (False, False)


def test_figures_by_language_are_told_apart_and_errors_are_none():
    names = [
        "bleu:fr",
        "psnr",
        "bleu:en",
        "caption_recall_at_1:fr_error",
        "t2i_exact_error",
        "unknown",
    ]
    assert sort_metric_names(names) == ["psnr", "bleu:fr", "bleu:en"]
    assert get_metric("bleu:fr").title == "BLEU (fr)"
    assert [group for group, _ in group_metrics(dict.fromkeys(names, 1.0))] == [
        "reconstruction",
        "words",
    ]


def test_a_scene_may_be_told_in_any_order():
    from pinxit.data.scenes.scene import random_scene
    from pinxit.evaluation.captioning import equivalent_captions

    for number in range(40):
        shown = random_scene(0, number)
        for language in ("en", "fr"):
            accepted = equivalent_captions(shown, language)
            assert shown.captions()[language] in accepted
            assert len(accepted) <= math.factorial(len(shown.objects))
    two = next(one for one in (random_scene(0, i) for i in range(40)) if len(one.objects) == 2)
    mirrored = {"above": "below", "to the left of": "to the right of"}
    pairs = {**mirrored, **{b: a for a, b in mirrored.items()}}
    a, b = two.objects
    (said,) = (way for way in pairs if f" {way} " in two.captions()["en"])
    assert equivalent_captions(two, "en") == {
        f"{a.english} {said} {b.english}",
        f"{b.english} {pairs[said]} {a.english}",
    }


def test_a_caption_in_another_order_counts_as_exact():
    accepted = [frozenset({"a and b", "b and a"})]
    found = dict(text_metrics(["b and a"], ["a and b"], "en", accepted))
    assert found["caption_exact:en"] == 1
    assert dict(text_metrics(["b and a"], ["a and b"], "en"))["caption_exact:en"] == 0
