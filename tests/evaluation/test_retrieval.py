"""Nearest neighbours against a loop; retrieval ranks and recall."""

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
from tests.builders import blobs, values_of


def flatten_pixels(images: Images) -> np.ndarray:
    return images.pixels.reshape(len(images), -1).astype(float)


def test_the_nearest_image_equals_that_of_a_loop():
    rng = np.random.default_rng(0)
    queries, images = (Images(rng.integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)) for n in (23, 40))
    expected = [
        min(range(40), key=lambda k: np.square(a.astype(int) - images.pixels[k]).sum())
        for a in queries.pixels
    ]
    assert nearest_images(queries, images, batch=7).tolist() == expected
    assert nearest_images(images, images).tolist() == list(range(40))


def test_the_nearest_text_shares_the_rarest_words():
    texts = ["a red circle", "a blue circle", "un cercle bleu", "a rocket over a circle"]
    queries = ["a rocket", "le cercle est bleu", "blue circles"]
    assert nearest_texts(queries, texts).tolist() == [3, 2, 1]


def test_only_training_images_with_captions_are_neighbours():
    train = dataclasses.replace(
        blobs(4), captions={"en": ["one", "", "three", "four"], "fr": ["", "", "", ""]}
    )
    assert nearest_captions(train[2], train, "en") == ["three"]
    assert nearest_captions(train[1], train, "en") != [""], "the nearest one with a caption"
    assert nearest_captions(train[1], train, "fr") is None
    assert nearest_captions(train[1], train, "de") is None
    images = images_of_nearest_captions(["four", "thre"], train)
    assert images is not None
    assert np.array_equal(images.pixels, train.pixels[[3, 2]])
    assert images_of_nearest_captions(["four"], dataclasses.replace(train, captions={})) is None


def test_the_rank_of_a_text_counts_more_similar_images_of_other_texts():
    similarity = np.array([[3.0, 0.0, 2.0], [1.0, 1.0, 5.0], [2.0, 3.0, 4.0]])
    assert retrieval_ranks(similarity, ["a", "b", "c"]) == [0, 1, 1]
    assert retrieval_ranks(similarity, ["a", "b", "b"]) == [0, 0, 0]


def test_true_images_are_retrieved_and_shuffled_ones_only_at_random():
    shapes = load_images("shapes:60", size=16, progress=False, cache=False)
    texts = shapes.captions["en"]
    true = values_of(image_recall("x", flatten_pixels, shapes, shapes, texts))
    assert true["x_1"] == 1
    rolled = Images(np.roll(shapes.pixels, 1, 0))
    shuffled = values_of(image_recall("x", flatten_pixels, rolled, shapes, texts))
    assert shuffled["x_1"] < 0.1
    assert shuffled["x_1"] <= shuffled["x_5"] <= shuffled["x_10"] < 0.5
