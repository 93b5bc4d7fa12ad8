"""Retrieval between images and texts, and nearest neighbours as a baseline.

A model of text and images has learned something if it does better than copying: the training
image with the nearest caption, or the caption of the nearest training image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue, proportion

NUM_CANDIDATES = 100  # images or texts, one of them correct
TOP_K = (1, 5, 10)

Features = Float[np.ndarray, "n features"]
Embed = Callable[[Images], Features]


def retrieval_metrics(
    embed: Embed, generated: Images, reference_images: Images, texts: Sequence[str], train: Images
) -> Iterator[MetricValue]:
    """Yield recall@k of generated images, and of the training images with the nearest captions.

    Yields nothing if fewer than half of the captions are distinct, for example with captions made
    from labels: there is then no unique correct image.
    """
    if len(set(texts)) < len(texts) // 2:
        return
    yield from image_recall("t2i_recall_at", embed, generated, reference_images, texts)
    neighbours = images_of_nearest_captions(texts, train)
    if neighbours is not None:
        yield from image_recall("nn_recall_at", embed, neighbours, reference_images, texts)


def image_recall(
    name: str, embed: Embed, generated: Images, reference_images: Images, texts: Sequence[str]
) -> Iterator[MetricValue]:
    """Yield how often a text's reference image is among the k nearest to its generated image.

    The candidates are the first 100 reference images. Similarity is the cosine of centred features.
    """
    candidates, queries = (
        embed(reference_images[:NUM_CANDIDATES]),
        embed(generated[:NUM_CANDIDATES]),
    )
    mean = candidates.mean(0)
    candidates, queries = (_normalize(features - mean) for features in (candidates, queries))
    yield from recall_at_k(name, candidates @ queries.T, texts[:NUM_CANDIDATES])


def _normalize(features: Features) -> Features:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def recall_at_k(
    name: str,
    similarity: Float[np.ndarray, "images texts"],
    texts: Sequence[str],
    suffix: str = "",
) -> Iterator[MetricValue]:
    """Yield how often the correct image of a text is among the 1, 5 and 10 most similar ones.

    Image i is correct for text i, and for equal texts.
    """
    ranks = retrieval_ranks(similarity, texts)
    for k in TOP_K:
        yield from proportion(f"{name}_{k}{suffix}", [rank < k for rank in ranks])


def retrieval_ranks(
    similarity: Float[np.ndarray, "images texts"], texts: Sequence[str]
) -> list[int]:
    """Return for each text how many images of other texts are more similar than the correct one."""
    unequal = np.array(texts)[:, None] != np.array(texts)
    is_nearer = similarity > np.diagonal(similarity)
    return (is_nearer & unequal).sum(0).tolist()


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
