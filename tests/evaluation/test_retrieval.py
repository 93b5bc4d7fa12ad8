"""Nearest neighbours against a loop; retrieval ranks and recall."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.evaluation.retrieval import (
    count_nearer,
    deal_blocks,
    hits_at_k,
    image_hits,
    images_of_nearest_captions,
    nearest_captions,
    nearest_images,
    nearest_texts,
    retrieval_metrics,
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


def test_nearer_candidates_of_other_texts_are_counted_and_ties_apart():
    similarity = np.array([[3.0, 0.0, 2.0], [1.0, 1.0, 4.0], [2.0, 3.0, 4.0]])
    nearer, ties = count_nearer(similarity, ["a", "b", "c"])
    assert (nearer.tolist(), ties.tolist()) == ([0, 1, 0], [0, 0, 1])
    nearer, ties = count_nearer(similarity, ["a", "b", "b"])
    assert (nearer.tolist(), ties.tolist()) == ([0, 0, 0], [0, 0, 0])


def test_ties_count_as_chance_decides():
    def equal(candidates, queries):
        return np.ones((len(candidates), len(queries)))

    hits = hits_at_k(equal, [str(i) for i in range(100)], None)
    assert {k: values.mean() for k, values in hits.items()} == pytest.approx(
        {1: 0.01, 5: 0.05, 10: 0.1}
    )
    two = hits_at_k(equal, ["a", "b"], None)
    assert two[1].tolist() == [0.5, 0.5]


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_each_image_is_searched_once_among_images_of_other_groups(n, num_groups, size, seed):
    groups = np.random.default_rng(seed).integers(0, num_groups, n)
    size = min(size, len(np.unique(groups)))
    blocks = deal_blocks(n, groups, size, seed)
    queries = [row for block in blocks for row in block.candidates[: block.num_queries]]
    assert sorted(queries) == list(range(n))
    for block in blocks:
        assert len(block.candidates) == size == len(np.unique(groups[block.candidates]))


def test_true_images_are_retrieved_and_shuffled_ones_only_at_random():
    shapes = load_images("shapes:60", size=16, progress=False, cache=False)
    texts = shapes.captions["en"]
    true = image_hits(flatten_pixels, shapes, shapes, texts)
    assert true[1].mean() == 1
    rolled = Images(np.roll(shapes.pixels, 1, 0))
    shuffled = image_hits(flatten_pixels, rolled, shapes, texts)
    assert shuffled[1].mean() < 0.1
    assert shuffled[1].mean() <= shuffled[5].mean() <= shuffled[10].mean() < 0.5


def make_grouped_images(num_groups: int = 80, per_group: int = 5) -> tuple[Images, list[str]]:
    """Near-copies in groups, of 80 colors: easy to tell a group, hard to tell its images."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(num_groups), per_group)
    color = rng.integers(0, 250, (num_groups, 1, 1, 3))[groups]
    pixels = (color + rng.integers(0, 6, (len(groups), 4, 4, 3))).astype(np.uint8)
    texts = [f"image {i}" for i in range(len(groups))]
    return Images(pixels, groups=groups), texts


def test_recall_depends_neither_on_the_order_of_images_nor_on_relatives():
    images, texts = make_grouped_images()
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 12, images.pixels.shape)
    drawn = Images((images.pixels + noise).clip(0, 255).astype(np.uint8))
    train = dataclasses.replace(images[:0], captions={})

    def measure(rows):
        order = [texts[i] for i in rows]
        args = (drawn.take(rows), images.take(rows), order, train)
        return values_of(retrieval_metrics(flatten_pixels, *args))

    in_order, shuffled = measure(np.arange(400)), measure(rng.permutation(400))
    assert in_order["t2i_retrieval_candidates"] == 80
    difference = in_order["t2i_recall_at_1"] - shuffled["t2i_recall_at_1"]
    assert abs(difference) < 2 * in_order["t2i_recall_at_1_error"]
    assert in_order["t2i_recall_at_1"] > 0.6, "images of one group compete with each other"


def test_the_gain_of_equal_images_is_zero():
    images, texts = make_grouped_images()
    train = dataclasses.replace(images, captions={"en": texts})
    values = values_of(retrieval_metrics(flatten_pixels, images, images, texts, train))
    assert values["t2i_recall_at_1"] == values["nn_recall_at_1"] == 1
    assert values["t2i_recall_gain_at_1"] == 0 < values["t2i_recall_gain_at_1_error"] < 0.05
