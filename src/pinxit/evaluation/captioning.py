"""Captions and translations: exact match, BLEU, chrF (Papineni 2002; Popovic 2015), retrieval."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pinxit.data.captions import all_captions
from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene
from pinxit.evaluation.estimates import (
    Estimate,
    Groups,
    bootstrap_estimate,
    subtract_estimates,
)
from pinxit.evaluation.metrics import Fact, MetricValue, Value, proportion, with_names
from pinxit.evaluation.retrieval import (
    hits_at_k,
    nearest_captions,
    num_candidates,
    recall_metrics,
)
from pinxit.evaluation.text_similarity import (
    References,
    bleu_metric,
    chrf_metric,
    corpus_score,
    signature,
)
from pinxit.evaluation.text_to_image import scenes_from_names
from pinxit.models.inputs import texts_within_limit
from pinxit.models.protocols import CanCaption, CanTranslate, HasText

MIN_DISTINCT_RATIO = 0.2  # of distinct captions to distinct true ones; fewer give a warning


def captioning_metrics(
    model: CanCaption, images: Images, train: Images, **generation: Any
) -> Iterator[MetricValue]:
    """Yield how close captions are to the true ones, and how well a caption finds its image.

    Per language; `generation` are options of `caption`. The caption of the nearest training image
    is a baseline. An image may have several true captions.
    """
    for language in model.text_tokenizer.languages:
        references = all_captions(images, language)
        rows = np.array([i for i, captions in enumerate(references) if captions], int)
        if language in images.captions and len(rows):
            yield from with_names(
                _language_metrics(model, images.take(rows), train, language, generation),
                [images.names[int(i)] for i in rows] if len(images.names) else (),
            )


def _language_metrics(
    model: CanCaption,
    images: Images,
    train: Images,
    language: str,
    generation: Mapping[str, Any],
) -> Iterator[MetricValue]:
    references, groups = all_captions(images, language), images.groups
    captions = model.caption(images, language=language, **generation)
    hypotheses = [beams[0].text for beams in captions]
    scenes = scenes_from_names(images)
    accepted = None if scenes is None else [equivalent_captions(s, language) for s in scenes]
    scores = dict(text_metrics(hypotheses, references, language, accepted, groups))
    yield from scores.items()
    yield f"distinct_caption_ratio:{language}", distinct_ratio(hypotheses, references, groups)
    neighbours = nearest_captions(images, train, language)
    if neighbours is not None:
        yield from baseline_metrics(neighbours, references, scores, language, groups)
    yield from caption_retrieval_metrics(model, images, language)


def baseline_metrics(
    neighbours: Sequence[str],
    references: References,
    scores: Mapping[str, Value],
    language: str,
    groups: Groups | None = None,
) -> Iterator[MetricValue]:
    """Yield BLEU and chrF of the nearest neighbours' captions, and the model's gain over them.

    The error of the gain is that of the difference, image by image.
    """
    for name, metric in (("bleu", bleu_metric(language, references)), ("chrf", chrf_metric())):
        baseline = corpus_score(metric, neighbours, references, groups)
        yield f"nn_baseline_{name}:{language}", baseline
        score = scores[f"{name}:{language}"]
        assert isinstance(score, Estimate)
        yield f"{name}_gain:{language}", subtract_estimates(score, baseline, groups)


def distinct_ratio(
    hypotheses: Sequence[str], references: References, groups: Groups | None = None
) -> Estimate:
    """Return the number of distinct texts over that of distinct first references."""
    first = [texts[0] for texts in references]

    def ratio(rows: np.ndarray) -> float:
        return len({hypotheses[i] for i in rows}) / len({first[i] for i in rows})

    return bootstrap_estimate(ratio, len(first), groups)


def caption_retrieval_metrics(
    model: CanCaption, images: Images, language: str
) -> Iterator[MetricValue]:
    """Yield how often log p(caption | image) is among the highest for the caption's own image."""
    texts = list(images.captions[language])

    def similarity(candidates: np.ndarray, queries: np.ndarray) -> np.ndarray:
        queried = [texts[i] for i in queries]
        return model.caption_log_prob_matrix(images.take(candidates), queried, language)

    yield f"caption_retrieval_candidates:{language}", Fact(num_candidates(images))
    hits = hits_at_k(similarity, texts, images.groups)
    yield from recall_metrics("caption_recall_at", hits, images.groups, f":{language}")


def translation_metrics(model: CanTranslate, images: Images) -> Iterator[MetricValue]:
    """Yield for each language how close translations into it are to its captions.

    Captions longer than the model takes are cut, as in training; a pair of languages without a
    common image is left out. Translations of one image from several languages are one group.
    """
    languages = model.text_tokenizer.languages
    image_groups = np.arange(len(images)) if images.groups is None else images.groups
    for target in languages:
        hypotheses: list[str] = []
        references: list[tuple[str, ...]] = []
        groups: list[int] = []
        for source in languages:
            if source == target or source not in images.captions:
                continue
            texts_to_translate = texts_within_limit(model, images.captions[source])
            captions = zip(
                texts_to_translate, all_captions(images, target), image_groups, strict=True
            )
            pairs = [(a, b, group) for a, b, group in captions if a and b]
            if not pairs:
                continue
            texts = model.translate([a for a, _, _ in pairs], source=source, target=target)
            hypotheses += [translation.text for translation in texts]
            references += [b for _, b, _ in pairs]
            groups += [int(group) for _, _, group in pairs]
        if hypotheses:
            yield from text_metrics(hypotheses, references, target, groups=np.array(groups))


def translation_warnings(model: HasText, images: Images) -> Iterator[str]:
    """Yield a warning for each two languages that no image has captions in: not measured."""
    for a, b in itertools.combinations(model.text_tokenizer.languages, 2):
        columns = (images.captions.get(language, [""] * len(images)) for language in (a, b))
        if not any(map(all, zip(*columns, strict=True))):
            yield f"no image that is measured has captions in both {a} and {b}: left out"


def text_metrics(
    hypotheses: Sequence[str],
    references: References,
    language: str,
    accepted: Sequence[frozenset[str]] | None = None,
    groups: Groups | None = None,
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
    yield from proportion(f"caption_exact:{language}", is_exact, groups)
    bleu = corpus_score(bleu_metric(language, references), hypotheses, references, groups)
    yield f"bleu:{language}", bleu
    yield f"chrf:{language}", corpus_score(chrf_metric(), hypotheses, references, groups)


def text_signatures(images: Images, languages: Sequence[str]) -> dict[str, str]:
    """Return sacrebleu's signatures of BLEU and chrF by language, for the protocol."""
    signatures = {}
    for language in languages:
        references = [texts for texts in all_captions(images, language) if texts]
        if references:
            bleu = bleu_metric(language, references)
            signatures[f"bleu:{language}"] = signature(bleu, references)
            signatures[f"chrf:{language}"] = signature(chrf_metric(), references)
    return signatures


def equivalent_captions(scene: Scene, language: str) -> frozenset[str]:
    """Return the captions of a scene for every order of its objects; all are correct."""
    orders = itertools.permutations(scene.objects)
    return frozenset(Scene(order).captions()[language] for order in orders)


def unknown_words(model: HasText, captions: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Count the captions with words that no training caption has: the model cannot say them."""
    texts = [text for column in captions.values() for text in column if text]
    words = [model.text_tokenizer.unknown_words(text) for text in texts]
    frequent = Counter(word for found in words for word in dict.fromkeys(found)).most_common(3)
    return {
        "captions": len(texts),
        "captions_with_unknown_words": sum(map(bool, words)),
        "most_frequent": [word for word, _ in frequent],
    }


def repetition_warnings(metrics: Mapping[str, Value]) -> Iterator[str]:
    """Yield a warning for each language in which most images get one of a few captions."""
    for name, ratio in metrics.items():
        metric, _, language = name.partition(":")
        if metric != "distinct_caption_ratio" or not isinstance(ratio, Estimate):
            continue
        if ratio.value < MIN_DISTINCT_RATIO:
            yield (
                f"the captions ({language}) hardly depend on the image: the number of distinct "
                f"captions is {ratio.value:.0%} of that of the true ones"
            )
