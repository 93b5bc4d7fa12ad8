"""Check the inputs of a model: the shape of images and masks, and the names of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from pinxit.data.batch import DatasetInfo
from pinxit.data.captions import UNDETERMINED, captions_round_robin
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams, Reranker
from pinxit.models.protocols import CanCaption, HasText
from pinxit.nn.rng import mix_seed

LABEL_STREAM = -3  # mixed into an image's seed: chooses its label


def check_images(info: DatasetInfo, images: Images) -> UInt8[Tensor, "n height width channel"]:
    """Return the pixels as a tensor. Raises UsageError if the model takes another shape."""
    expected = (info.height, info.width, info.channels)
    if images.pixels.shape[1:] != expected:
        raise UsageError(
            f"this model takes images of {'x'.join(map(str, expected))} "
            f"(height, width, channels), not {'x'.join(map(str, images.pixels.shape[1:]))}."
        )
    return torch.from_numpy(np.array(images.pixels))


def check_mask(images: Images, mask: Bool[np.ndarray, "n height width"]) -> None:
    """Raises UsageError if the mask does not have the number and size of the images."""
    expected = images.pixels.shape[:3]
    if tuple(mask.shape) != expected:
        raise UsageError(f"the mask has shape {list(mask.shape)}, the images {list(expected)}.")


def captions_within_limit(model: HasText, images: Images) -> tuple[np.ndarray, list[str]]:
    """Return one caption per image as `captions_round_robin` does, cut to what the model takes.

    Returns the rows of the images that have a caption, int64 `[k]`, and the k captions. A caption
    of which nothing is left counts as none.
    """
    rows, texts = captions_round_robin(images, model.text_tokenizer.languages)
    texts = texts_within_limit(model, texts)
    return rows[np.array([bool(text) for text in texts], bool)], [text for text in texts if text]


def texts_within_limit(model: HasText, texts: Sequence[str]) -> list[str]:
    """Return texts, stripped and cut to what the model takes; "" where not one token fits."""
    encode, limit = model.text_tokenizer.encode, model.max_text_tokens
    texts = [text.strip() for text in texts]
    return [model.truncate_text(t).strip() if len(encode(t)) > limit else t for t in texts]


def other_language(model: HasText, source: str) -> str:
    """Return the only language of a model beside `source`.

    Raises UsageError if there are several, or none.
    """
    others = [name for name in model.text_tokenizer.languages if name != source]
    if len(others) != 1:
        raise UsageError(f"target must be one of: {', '.join(others) or 'none is known'}.")
    return others[0]


def check_translation(source: str, target: str, *, is_detected: bool = False) -> None:
    """Raises UsageError for a translation into the language of the texts."""
    if source == target:
        how = "was detected as" if is_detected else "is"
        raise UsageError(
            f"the language of the texts {how} {source}, "
            "which is also the language to translate into."
        )


def translation_languages(
    model: HasText, texts: Sequence[str], source: str | None, target: str | None
) -> tuple[str, str]:
    """Return source and target; None: detected from the texts, the other language of two.

    Raises UsageError if both are the same, or if there are several languages to choose from.
    """
    language = source or model.text_tokenizer.detect_language(" ".join(texts))
    target = target or other_language(model, language)
    check_translation(language, target, is_detected=source is None)
    return language, target


def label_index(config: Any, info: DatasetInfo, label: str) -> int:
    """Return the class number of a label's name.

    Raises UsageError for an unknown label, and if the model was trained without labels.
    """
    if config.condition != "label":
        raise UsageError("this model was trained without labels; train one with --condition label.")
    return info.label_index(label)


def choose_sample_labels(
    config: Any, info: DatasetInfo, label: str | None, seeds: Sequence[int]
) -> Int64[np.ndarray, " n"] | None:
    """Return the label of each image to generate: that of a name, or for None no labels.

    A model that has dropped no label in training does not generate without one: it gets labels at
    random, each as likely as the others and a function of the image's own seed. Raises UsageError
    for an unknown label, and if the model was trained without labels.
    """
    if label is not None:
        return np.full(len(seeds), label_index(config, info, label))
    if config.condition != "label" or config.label_dropout > 0:
        return None
    return np.array([mix_seed(own, LABEL_STREAM) % len(info.label_names) for own in seeds])


def check_guidance(params: GenerationParams, dropout: float) -> None:
    """Raises UsageError for guidance of a model that has not learned to generate without text."""
    if params.guidance != 1 and dropout == 0:
        raise UsageError("guidance needs a model trained with --caption-dropout above 0.")


def rerank_languages(reranker: Reranker, languages: Sequence[str]) -> list[str]:
    """Return the languages in which a reranker scores texts of these languages.

    An undetermined language stands for the only one of the other side. Raises UsageError for a
    language that the reranker does not know.
    """
    known = reranker.text_tokenizer.languages
    only = known[0] if len(known) == 1 else None
    scored = [
        name if name in known else only if UNDETERMINED in (name, only) else None
        for name in languages
    ]
    missing = [name for name, found in zip(languages, scored, strict=True) if found is None]
    if missing:
        raise UsageError(
            f"the reranker captions in {', '.join(known)}, not in "
            f"{', '.join(dict.fromkeys(missing))}; give one that was trained on such captions."
        )
    return [name for name in scored if name is not None]


def can_rerank(reranker: Reranker, languages: Sequence[str]) -> bool:
    """Return whether a reranker scores texts of all these languages."""
    try:
        rerank_languages(reranker, languages)
    except UsageError:
        return False
    return True


def check_reranker(reranker: Reranker, info: DatasetInfo) -> None:
    """Raises UsageError if a model cannot caption, or captions images of another shape."""
    if not isinstance(reranker, CanCaption):
        raise UsageError(
            "a reranker is a captioning model; train one with --source image --target text."
        )
    expected, actual = (f"{d.height}x{d.width}x{d.channels}" for d in (info, reranker.info))
    if actual != expected:
        raise UsageError(
            f"the reranker takes images of {actual} (height, width, channels), not {expected}."
        )
