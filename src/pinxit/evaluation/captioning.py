"""Captions and translations: exact match, BLEU, chrF (Papineni 2002; Popovic 2015), retrieval."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import sacrebleu

from pinxit.data.captions import all_captions
from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene
from pinxit.evaluation.metrics import MetricValue, Value, proportion
from pinxit.evaluation.retrieval import NUM_CANDIDATES, nearest_captions, recall_at_k
from pinxit.evaluation.text_to_image import scenes_from_names
from pinxit.models.protocols import CanCaption, CanTranslate

References = Sequence[tuple[str, ...]]  # those of each text, at least one

MIN_DISTINCT_RATIO = 0.2  # of distinct captions to distinct true ones; fewer give a warning


def captioning_metrics(model: CanCaption, images: Images, train: Images) -> Iterator[MetricValue]:
    """Yield how close captions are to the true ones, and how well a caption finds its image.

    Per language. The caption of the nearest training image is a baseline.
    """
    for language in model.text_tokenizer.languages:
        captions = all_captions(images, language)
        rows = np.array([i for i, texts in enumerate(captions) if texts], int)
        if len(rows):
            references = [captions[int(i)] for i in rows]
            yield from _language_metrics(model, images.take(rows), references, train, language)


def _language_metrics(
    model: CanCaption, images: Images, references: References, train: Images, language: str
) -> Iterator[MetricValue]:
    hypotheses = [beams[0].text for beams in model.caption(images, language=language)]
    scenes = scenes_from_names(images)
    accepted = None if scenes is None else [equivalent_captions(s, language) for s in scenes]
    yield from text_metrics(hypotheses, references, language, accepted)
    first = [texts[0] for texts in references]
    yield f"distinct_caption_ratio:{language}", len(set(hypotheses)) / len(set(first))
    neighbours = nearest_captions(images, train, language)
    if neighbours is not None:
        yield f"nn_baseline_chrf:{language}", _chrf(neighbours, references)
    texts = first[:NUM_CANDIDATES]
    log_probs = model.caption_log_prob_matrix(images[:NUM_CANDIDATES], texts, language)
    yield from recall_at_k("caption_recall_at", log_probs, texts, f":{language}")


def translation_metrics(model: CanTranslate, images: Images) -> Iterator[MetricValue]:
    """Yield for each language how close translations into it are to its captions."""
    languages = model.text_tokenizer.languages
    for target in languages:
        hypotheses: list[str] = []
        references: list[tuple[str, ...]] = []
        for source in languages:
            if source == target:
                continue
            captions = zip(images.captions[source], all_captions(images, target), strict=True)
            pairs = [(a, b) for a, b in captions if a and b]
            texts = model.translate([a for a, _ in pairs], source=source, target=target)
            hypotheses += [translation.text for translation in texts]
            references += [b for _, b in pairs]
        if hypotheses:
            yield from text_metrics(hypotheses, references, target)


def text_metrics(
    hypotheses: Sequence[str],
    references: References,
    language: str,
    accepted: Sequence[frozenset[str]] | None = None,
) -> Iterator[MetricValue]:
    """Yield exact match, BLEU and chrF of texts in one language.

    A text may have several references: each is an exact match, and BLEU and chrF take the best
    matches among them. `accepted` are further texts that count as an exact match.
    """
    if accepted is None:
        accepted = [frozenset()] * len(references)
    is_exact = [
        text in texts or text in equivalent
        for text, texts, equivalent in zip(hypotheses, references, accepted, strict=True)
    ]
    yield from proportion(f"caption_exact:{language}", is_exact)
    columns = _reference_columns(references)
    yield f"bleu:{language}", sacrebleu.corpus_bleu(list(hypotheses), columns).score
    yield f"chrf:{language}", _chrf(hypotheses, references)


def _chrf(hypotheses: Sequence[str], references: References) -> float:
    return sacrebleu.corpus_chrf(list(hypotheses), _reference_columns(references)).score


def _reference_columns(references: References) -> list[list[str]]:
    """Return the first reference of each text, the second, ...; "" where there are fewer."""
    return [list(column) for column in itertools.zip_longest(*references, fillvalue="")]


def equivalent_captions(scene: Scene, language: str) -> frozenset[str]:
    """Return the captions of a scene for every order of its objects; all are correct."""
    orders = itertools.permutations(scene.objects)
    return frozenset(Scene(order).captions()[language] for order in orders)


def repetition_warnings(metrics: Mapping[str, Value]) -> Iterator[str]:
    """Yield a warning for each language in which most images get one of a few captions."""
    for name, value in metrics.items():
        metric, _, language = name.partition(":")
        if metric != "distinct_caption_ratio" or not isinstance(value, float):
            continue
        if value < MIN_DISTINCT_RATIO:
            yield (
                f"the captions ({language}) hardly depend on the image: the number of distinct "
                f"captions is {value:.0%} of that of the true ones"
            )
