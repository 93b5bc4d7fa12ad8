"""The nearest neighbour: what one would give who only looked things up. A yardstick, and a check.

A model of words and images has learned something where it does better than the training image
with the nearest caption, or the caption of the nearest training image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue, proportion

NUM_CANDIDATES = 100  # images of which a caption's own is to be found

Embed = Callable[[Images], Float[np.ndarray, "n features"]]


def nearest_images(made: Images, known: Images, chunk: int = 500) -> Int64[np.ndarray, " made"]:
    """For each image the row of the known one that differs least, in squares of pixels."""
    given = known.pixels.reshape(len(known), -1).astype(np.float32)
    squares, found = (given**2).sum(1), []
    for at in range(0, len(made), chunk):
        new = made.pixels[at : at + chunk].reshape(-1, given.shape[1]).astype(np.float32)
        found.append((squares - 2 * new @ given.T).argmin(1))
    return np.concatenate(found)


def nearest_texts(texts: Sequence[str], known: Sequence[str]) -> Int64[np.ndarray, " texts"]:
    """For each text the row of the known one that shares most runs of 1 to 4 letters, rare ones
    counting more (cosine of tf-idf)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    given = weigh.fit_transform(known)
    alike = weigh.transform(texts) @ given.T
    return np.asarray(alike.todense()).argmax(1)


def nearest_captions(images: Images, known: Images, language: str) -> list[str] | None:
    """The caption of each image's nearest known one; None where no known one has any."""
    texts = known.captions.get(language, ())
    rows = np.array([i for i, text in enumerate(texts) if text], int)
    if len(rows) == 0:
        return None
    return [texts[int(rows[i])] for i in nearest_images(images, known.take(rows))]


def images_of_nearest_captions(texts: Sequence[str], known: Images) -> Images | None:
    """The known image with the caption nearest to each text, in any language."""
    told = [
        (text, i) for all_of in known.captions.values() for i, text in enumerate(all_of) if text
    ]
    if not told:
        return None
    rows = [told[int(i)][1] for i in nearest_texts(texts, [text for text, _ in told])]
    return known.take(np.array(rows))


def retrieval_ranks(rated: np.ndarray, texts: Sequence[str]) -> list[int]:
    """For each text how many images of other texts it is likelier in than in its own.

    `rated` is `[images, texts]`, higher for the likelier.
    """
    said = np.array(texts)
    return [int(((rated[:, i] > rated[i, i]) & (said != said[i])).sum()) for i in range(len(texts))]


def recall_at_k(
    name: str, rated: np.ndarray, texts: Sequence[str], ending: str = ""
) -> Iterator[MetricValue]:
    """Whether a text's own image is among the 1, 5 and 10 that are rated highest for it.

    Images with the same text count as its own.
    """
    places = retrieval_ranks(rated, texts)
    for k in (1, 5, 10):
        yield from proportion(f"{name}_{k}{ending}", [place < k for place in places])


def image_recall(
    name: str, embed: Embed, made: Images, true: Images, texts: Sequence[str]
) -> Iterator[MetricValue]:
    """Whether a text's true image is among the 1, 5 and 10 nearest to what was made of it, of
    the true images of the first texts, by the cosine of features less their mean."""
    there, new = embed(true[:NUM_CANDIDATES]), embed(made[:NUM_CANDIDATES])
    middle = there.mean(0)
    there, new = (_unit(rows - middle) for rows in (there, new))
    yield from recall_at_k(name, there @ new.T, texts[:NUM_CANDIDATES])


def retrieval_metrics(
    embed: Embed, drawn: Images, true: Images, texts: Sequence[str], known: Images
) -> Iterator[MetricValue]:
    """Whether drawings are nearest to their true images, and the same of the known image with
    the nearest caption. Nothing for captions of labels: there no image is a text's own."""
    if len(set(texts)) < len(texts) // 2:
        return
    yield from image_recall("t2i_recall_at", embed, drawn, true, texts)
    there = images_of_nearest_captions(texts, known)
    if there is not None:
        yield from image_recall("nn_recall_at", embed, there, true, texts)


def _unit(rows: Float[np.ndarray, "n features"]) -> Float[np.ndarray, "n features"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
