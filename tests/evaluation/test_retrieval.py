"""The nearest neighbour: found as by a loop, and a yardstick that what is true stands above."""

from __future__ import annotations

import dataclasses

import numpy as np

from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.evaluation.retrieval import (
    image_recall,
    images_of_nearest_captions,
    nearest_captions,
    nearest_images,
    nearest_texts,
    retrieval_ranks,
)
from tests.builders import blobs


def as_they_are(images: Images) -> np.ndarray:
    return images.pixels.reshape(len(images), -1).astype(float)


def test_the_nearest_image_is_that_of_a_loop():
    random = np.random.default_rng(0)
    made, known = (Images(random.integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)) for n in (23, 40))
    slowly = [
        min(range(40), key=lambda k: np.square(a.astype(int) - known.pixels[k]).sum())
        for a in made.pixels
    ]
    assert nearest_images(made, known, chunk=7).tolist() == slowly
    assert nearest_images(known, known).tolist() == list(range(40))


def test_the_nearest_text_shares_the_rarest_words():
    known = ["a red circle", "a blue circle", "un cercle bleu", "a rocket over a circle"]
    assert nearest_texts(["a rocket", "le cercle est bleu", "blue circles"], known).tolist() == [
        3, 2, 1,
    ]  # fmt: skip


def test_captions_and_images_are_looked_up_where_there_are_any():
    known = dataclasses.replace(
        blobs(4), captions={"en": ["one", "", "three", "four"], "fr": ["", "", "", ""]}
    )
    assert nearest_captions(known[2], known, "en") == ["three"]
    assert nearest_captions(known[1], known, "en") != [""], "the nearest that has words"
    assert nearest_captions(known[1], known, "fr") is None
    assert nearest_captions(known[1], known, "de") is None
    found = images_of_nearest_captions(["four", "thre"], known)
    assert found is not None
    assert np.array_equal(found.pixels, known.pixels[[3, 2]])
    assert images_of_nearest_captions(["four"], dataclasses.replace(known, captions={})) is None


def test_a_caption_finds_its_image_by_what_is_rated_highest_and_twins_count():
    rated = np.array([[3.0, 0.0, 2.0], [1.0, 1.0, 5.0], [2.0, 3.0, 4.0]])
    assert retrieval_ranks(rated, ["a", "b", "c"]) == [0, 1, 1]
    assert retrieval_ranks(rated, ["a", "b", "b"]) == [0, 0, 0]


def test_true_images_are_found_again_and_others_by_chance():
    shapes = load_images("shapes:60", size=16, progress=False, cache=False)
    texts = shapes.captions["en"]
    same = dict(image_recall("x", as_they_are, shapes, shapes, texts))
    assert same["x_1"] == 1
    rolled = Images(np.roll(shapes.pixels, 1, 0))
    wrong = dict(image_recall("x", as_they_are, rolled, shapes, texts))
    assert wrong["x_1"] < 0.1
    assert wrong["x_1"] <= wrong["x_5"] <= wrong["x_10"] < 0.5
