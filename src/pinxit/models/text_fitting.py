"""Fit a text tokenizer to the training texts, for models that read or write text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pinxit.console import echo, pluralize
from pinxit.data.captions import all_captions
from pinxit.data.keywords import JOINER
from pinxit.errors import UsageError
from pinxit.extras import require_extra

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.images import Images
    from pinxit.data.text_tokenizer import TextTokenizer

MIN_VOCAB_SIZE = 256  # the bytes


C = TypeVar("C")  # a Config with vocab_size, max_text_tokens and reads_keywords


def fit_text_tokenizer(
    config: C, images: Images, rows: np.ndarray, max_default: int
) -> tuple[C, Tensor]:
    """Train a text tokenizer on the captions of `rows`; a note says how many captions are cut.

    Returns the configuration with both sizes, and the state of the model's `TextTokenizerState`.
    For a model that reads keywords, also on captions with all keywords of their image.
    Without `max_text_tokens` it is 1.5 times the longest caption and 8, or a caption with all its
    keywords if that is longer, at most `max_default`.
    Raises UsageError for a vocabulary smaller than that of bytes, and without captions.
    """
    require_extra("text", "a model of captions")
    from pinxit.data.text_tokenizer import train_text_tokenizer
    from pinxit.models.saved_state import json_to_tensor

    fields: Any = config
    vocab_size, with_keywords = fields.vocab_size, fields.reads_keywords
    if vocab_size < MIN_VOCAB_SIZE:
        raise UsageError(
            f"vocab_size must be at least {MIN_VOCAB_SIZE} (the bytes), not {vocab_size}."
        )
    texts = _captions_by_language(images, rows)
    if with_keywords:
        _note_unused_languages(images)
        texts = _add(texts, _keywords_by_language(images, rows))
    tokenizer = train_text_tokenizer(texts, vocab_size)
    lengths = _count_tokens(tokenizer, _captions_by_language(images))
    longest = max(lengths, default=1)
    longest = longest + longest // 2 + 8
    if with_keywords:
        longest = max([longest, *_count_tokens(tokenizer, _keywords_by_language(images))])
    limit = fields.max_text_tokens or min(longest, max_default)
    if (num_cut := sum(length > limit for length in lengths)) > 0:
        echo(
            f"{pluralize(num_cut, 'caption')} of {len(lengths):,} longer than {limit} tokens: the "
            "rest is not used; see --max-text-tokens"
        )
    sizes = {"vocab_size": tokenizer.num_text_tokens, "max_text_tokens": limit}
    return dataclasses.replace(fields, **sizes), json_to_tensor(tokenizer.to_json())


def _captions_by_language(images: Images, rows: np.ndarray | None = None) -> dict[str, list[str]]:
    """Return all captions of these rows, or of all images."""
    by_language = {}
    for language in images.captions:
        captions = all_captions(images, language)
        chosen = captions if rows is None else [captions[int(i)] for i in rows]
        by_language[language] = [text for texts in chosen for text in texts]
    return by_language


def _keywords_by_language(images: Images, rows: np.ndarray | None = None) -> dict[str, list[str]]:
    """Return the caption with all keywords of each image that has some: the longest texts."""
    indices = range(len(images)) if rows is None else rows.tolist()
    return {
        language: [
            JOINER.join(filter(None, (images.captions[language][i], *keywords[i])))
            for i in indices
            if keywords[i]
        ]
        for language, keywords in images.keywords.items()
        if language in images.captions
    }


def _add(texts: dict[str, list[str]], others: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {language: [*column, *others.get(language, ())] for language, column in texts.items()}


def _note_unused_languages(images: Images) -> None:
    if unused := [language for language in images.keywords if language not in images.captions]:
        echo(f"keywords in {' '.join(unused)} are not used: no captions are in that language")


def _count_tokens(tokenizer: TextTokenizer, captions: Mapping[str, Sequence[str]]) -> list[int]:
    return [len(tokenizer.encode(text)) for texts in captions.values() for text in texts]
