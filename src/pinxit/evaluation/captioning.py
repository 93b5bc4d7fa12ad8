"""Captions and translations: exact match, BLEU, chrF (Papineni 2002; Popovic 2015), retrieval."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene
from pinxit.evaluation.metrics import MetricValue, proportion
from pinxit.evaluation.retrieval import NUM_CANDIDATES, nearest_captions, recall_at_k

if TYPE_CHECKING:
    pass
from pinxit.evaluation.text_to_image import scenes_from_names

MIN_DISTINCT_RATIO = 0.2  # below this ratio of distinct captions to distinct references, warn


def equivalent_captions(scene: Scene, language: str) -> frozenset[str]:
    """The captions of a scene whichever of its things is named first: an image does not tell."""
    orders = itertools.permutations(scene.objects)
    return frozenset(Scene(order).captions()[language] for order in orders)


def text_metrics(
    written: Sequence[str],
    true: Sequence[str],
    language: str,
    accepted: Sequence[frozenset[str]] | None = None,
) -> Iterator[MetricValue]:
    """Exact matches, BLEU and chrF of texts in one language.

    `accepted` are all the texts that are as right as the true one, where there are several.
    """
    import sacrebleu

    right = [frozenset([text]) for text in true] if accepted is None else accepted
    yield from proportion(
        f"caption_exact:{language}", [a in b for a, b in zip(written, right, strict=True)]
    )
    yield f"bleu:{language}", sacrebleu.corpus_bleu(list(written), [list(true)]).score
    yield f"chrf:{language}", sacrebleu.corpus_chrf(list(written), [list(true)]).score


def captioning_metrics(model: Any, images: Images, known: Images) -> Iterator[MetricValue]:
    """Of each language: how near the captions are, and whether a caption finds its image.

    `known` are the training images: the caption of the nearest of them is a yardstick.
    """
    for language in model.text_tokenizer.languages:
        texts = images.captions.get(language)
        rows = np.array([i for i, text in enumerate(texts or ()) if text], int)
        if texts is None or len(rows) == 0:
            continue
        some, true = images.take(rows), [texts[int(i)] for i in rows]
        written = [row[0].text for row in model.caption(some, language=language)]
        scenes = scenes_from_names(some)
        accepted = (
            None if scenes is None else [equivalent_captions(one, language) for one in scenes]
        )
        yield from text_metrics(written, true, language, accepted)
        yield f"distinct_caption_ratio:{language}", len(set(written)) / len(set(true))
        yield from _nn_baseline(some, known, true, language)
        few = true[:NUM_CANDIDATES]
        rated = model.caption_log_prob_matrix(some[:NUM_CANDIDATES], few, language)
        yield from recall_at_k("caption_recall_at", rated, few, f":{language}")


def _nn_baseline(
    images: Images, known: Images, true: Sequence[str], language: str
) -> Iterator[MetricValue]:
    """What the nearest neighbour's captions reach."""
    import sacrebleu

    found = nearest_captions(images, known, language)
    if found is not None:
        yield f"nn_baseline_chrf:{language}", sacrebleu.corpus_chrf(found, [list(true)]).score


def repetition_warnings(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for each language in which most images have the same few captions."""
    for name, value in figures.items():
        kind, _, language = name.partition(":")
        if kind == "distinct_caption_ratio" and value < MIN_DISTINCT_RATIO:
            yield (
                f"the captions ({language}) hardly depend on the image: {value:.0%} as many "
                "different ones as the true ones are"
            )


def translation_metrics(model: Any, images: Images) -> Iterator[MetricValue]:
    """Of each language: how near texts translated into it are to its captions."""
    for target in model.text_tokenizer.languages:
        written, true = [], []
        for source in model.text_tokenizer.languages:
            if source == target:
                continue
            pairs = [
                (a, b)
                for a, b in zip(images.captions[source], images.captions[target], strict=True)
                if a and b
            ]
            found = model.translate([a for a, _ in pairs], source=source, target=target)
            written += [said.text for said in found]
            true += [b for _, b in pairs]
        if written:
            yield from text_metrics(written, true, target)
