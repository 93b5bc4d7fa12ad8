"""Retrieval between images and texts, and nearest neighbours as a baseline.

A model of text and images has learned something if it does better than copying: the training
image with the nearest caption, or the caption of the nearest training image.

Every image is searched once, among 100 candidates: the images are dealt into blocks of 100, in a
seeded random order, with at most one image of a group in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from pinxit.data.images import Images
from pinxit.evaluation.estimates import (
    Groups,
    estimate_over,
    estimate_proportion,
    subtract_estimates,
)
from pinxit.evaluation.metrics import Fact, MetricValue

NUM_CANDIDATES = 100  # images or texts, one of them correct
TOP_K = (1, 5, 10)

Features = Float[np.ndarray, "n features"]
Embed = Callable[[Images], Features]
Rows = Int64[np.ndarray, " rows"]
Similarity = Callable[[Rows, Rows], Float[np.ndarray, "candidates queries"]]
Hits = Mapping[int, Float64[np.ndarray, " n"]]  # of each k: how often each image is found


class Block(NamedTuple):
    """Candidates, the first of which are searched in turn."""

    candidates: Rows  # of different groups
    num_queries: int


def retrieval_metrics(
    embed: Embed, generated: Images, reference_images: Images, texts: Sequence[str], train: Images
) -> Iterator[MetricValue]:
    """Yield recall@k of generated images, of the training images with the nearest captions, and
    the difference, image by image.

    Yields nothing if fewer than half of the captions are distinct, for example with captions made
    from labels: there is then no unique correct image.
    """
    if len(set(texts)) < len(texts) // 2:
        return
    yield "t2i_retrieval_candidates", Fact(num_candidates(reference_images))
    hits = image_hits(embed, generated, reference_images, texts)
    yield from recall_metrics("t2i_recall_at", hits, reference_images.groups)
    neighbours = images_of_nearest_captions(texts, train)
    if neighbours is not None:
        baseline = image_hits(embed, neighbours, reference_images, texts)
        yield from recall_metrics("nn_recall_at", baseline, reference_images.groups)
        for k in TOP_K:
            a, b = (estimate_over(reference_images, of[k]) for of in (hits, baseline))
            gain = subtract_estimates(a, b, reference_images.groups, proportions=True)
            yield f"t2i_recall_gain_at_{k}", gain


def recall_metrics(
    name: str, hits: Hits, groups: Groups | None, suffix: str = ""
) -> Iterator[MetricValue]:
    """Yield how often the correct image is among the 1, 5 and 10 most similar ones."""
    for k, values in hits.items():
        yield f"{name}_{k}{suffix}", estimate_proportion(values, groups)


def image_hits(
    embed: Embed, generated: Images, reference_images: Images, texts: Sequence[str]
) -> Hits:
    """Return whether each text's reference image is among the k nearest to its generated image.

    Similarity is the cosine of features, centred on the mean of the reference images.
    """
    references, queries = embed(reference_images), embed(generated)
    mean = references.mean(0)
    references, queries = (_normalize(features - mean) for features in (references, queries))

    def similarity(candidates: Rows, searched: Rows) -> Float[np.ndarray, "candidates queries"]:
        return references[candidates] @ queries[searched].T

    return hits_at_k(similarity, texts, reference_images.groups)


def _normalize(features: Features) -> Features:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


# -- blocks and ranks --------------------------------------------------------------------------


def num_candidates(images: Images) -> int:
    """Return the size of a block: 100, or as many groups as there are."""
    groups = len(images) if images.groups is None else len(np.unique(images.groups))
    return min(NUM_CANDIDATES, groups)


def deal_blocks(n: int, groups: Groups | None, size: int, seed: int = 0) -> list[Block]:
    """Deal n images into blocks of `size`; each is searched in one of them.

    A block has one image of a group at most. Blocks that have fewer images than `size` are filled
    up with random images of other groups, which are candidates only. `size` is at most the number
    of groups.
    """
    rng = np.random.default_rng(seed)
    groups = np.arange(n) if groups is None else groups
    blocks: list[list[int]] = []
    for row in rng.permutation(n).tolist():
        with_room = (b for b in blocks if len(b) < size and groups[row] not in groups[b])
        block = next(with_room, None)
        if block is None:
            blocks.append(block := [])
        block.append(row)
    return [Block(_fill_up(block, groups, size, rng), len(block)) for block in blocks]


def _fill_up(block: list[int], groups: Groups, size: int, rng: np.random.Generator) -> Rows:
    rows, taken = list(block), {groups[row] for row in block}
    for row in rng.permutation(len(groups)).tolist():
        if len(rows) == size:
            break
        if groups[row] not in taken:
            rows.append(row)
            taken.add(groups[row])
    return np.array(rows, np.int64)


def hits_at_k(
    similarity: Similarity, texts: Sequence[str], groups: Groups | None, seed: int = 0
) -> Hits:
    """Return for k = 1, 5 and 10 whether each image is among the k candidates nearest to its text.

    Image i is correct for text i, and for equal texts. Of t candidates that are as near as the
    correct one, chance decides: the value is the probability of a hit.
    """
    n = len(texts)
    size = min(NUM_CANDIDATES, n if groups is None else len(np.unique(groups)))
    hits = {k: np.zeros(n) for k in TOP_K}
    for block in deal_blocks(n, groups, size, seed):
        queries = block.candidates[: block.num_queries]
        nearer, ties = count_nearer(
            similarity(block.candidates, queries), [texts[int(i)] for i in block.candidates]
        )
        for k, values in hits.items():
            values[queries] = np.clip((k - nearer) / (ties + 1), 0, 1)
    return hits


def count_nearer(
    similarity: Float[np.ndarray, "candidates queries"], texts: Sequence[str]
) -> tuple[Int64[np.ndarray, " queries"], Int64[np.ndarray, " queries"]]:
    """Return for each query how many candidates of other texts are nearer than the correct one,
    and how many are equally near.

    `texts` are those of the candidates; query i is that of candidate i. NaN is farthest.
    """
    similarity = np.where(np.isnan(similarity), -np.inf, similarity)
    names = np.array(texts, object)
    unequal = names[:, None] != names[None, : similarity.shape[1]]
    correct = np.diagonal(similarity)
    return ((similarity > correct) & unequal).sum(0), ((similarity == correct) & unequal).sum(0)


# -- nearest neighbours ------------------------------------------------------------------------


def nearest_captions(images: Images, train: Images, language: str) -> list[str] | None:
    """Return the caption of each image's nearest training image with one; None without captions."""
    captions = train.captions.get(language, ())
    rows = np.array([i for i, caption in enumerate(captions) if caption], int)
    if len(rows) == 0:
        return None
    return [captions[int(rows[i])] for i in nearest_images(images, train.take(rows))]


def images_of_nearest_captions(texts: Sequence[str], train: Images) -> Images | None:
    """Return the training image whose caption, in any language, is nearest to each text."""
    captions = [
        (caption, row)
        for by_language in train.captions.values()
        for row, caption in enumerate(by_language)
        if caption
    ]
    if not captions:
        return None
    nearest = nearest_texts(texts, [caption for caption, _ in captions])
    return train.take(np.array([captions[int(i)][1] for i in nearest]))


def nearest_images(queries: Images, images: Images, batch: int = 500) -> Int64[np.ndarray, " q"]:
    """Return for each query the row of the image with the smallest squared pixel distance."""
    rows = images.pixels.reshape(len(images), -1).astype(np.float32)
    squares, nearest = (rows**2).sum(1), []
    for start in range(0, len(queries), batch):
        query = queries.pixels[start : start + batch].reshape(-1, rows.shape[1]).astype(np.float32)
        nearest.append((squares - 2 * query @ rows.T).argmin(1))  # |q|^2 is the same for all
    return np.concatenate(nearest)


def nearest_texts(queries: Sequence[str], texts: Sequence[str]) -> Int64[np.ndarray, " q"]:
    """Return for each query the row of the nearest text: tf-idf cosine of character 1-4-grams."""
    # sklearn takes a second to import, and reports need the other functions only
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    vectors = vectorizer.fit_transform(texts)
    similarity = vectorizer.transform(queries) @ vectors.T
    return np.asarray(similarity.todense()).argmax(1)
