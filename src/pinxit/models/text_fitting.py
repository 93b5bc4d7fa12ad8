"""Fit a text tokenizer to the training captions, for models that read or write text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pinxit.console import echo, pluralize
from pinxit.data.captions import all_captions
from pinxit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.images import Images
    from pinxit.data.text_tokenizer import TextTokenizer

MIN_VOCAB_SIZE = 256  # the bytes


class FittedText(NamedTuple):
    """A text tokenizer, and the sizes of a model that uses it."""

    state: Tensor  # of the model's `TextTokenizerState`
    vocab_size: int
    max_text_tokens: int


def fit_text_tokenizer(
    images: Images,
    rows: np.ndarray,
    vocab_size: int,
    max_text_tokens: int | None,
    max_default: int,
) -> FittedText:
    """Train a text tokenizer on the captions of `rows`; a note says how many captions are cut.

    Without `max_text_tokens` it is 1.5 times the longest caption and 8, at most `max_default`.
    Raises UsageError for a vocabulary smaller than that of bytes, and without captions.
    """
    from pinxit.data.text_tokenizer import train_text_tokenizer
    from pinxit.models.saved_state import json_to_tensor

    if vocab_size < MIN_VOCAB_SIZE:
        raise UsageError(
            f"vocab_size must be at least {MIN_VOCAB_SIZE} (the bytes), not {vocab_size}."
        )
    tokenizer = train_text_tokenizer(_captions_by_language(images, rows), vocab_size)
    lengths = _count_tokens(tokenizer, _captions_by_language(images))
    longest = max(lengths, default=1)
    limit = max_text_tokens or min(longest + longest // 2 + 8, max_default)
    if (num_cut := sum(length > limit for length in lengths)) > 0:
        echo(
            f"{pluralize(num_cut, 'caption')} of {len(lengths):,} longer than {limit} tokens: the "
            "rest is not used; see --max-text-tokens"
        )
    return FittedText(json_to_tensor(tokenizer.to_json()), tokenizer.num_text_tokens, limit)


def _captions_by_language(images: Images, rows: np.ndarray | None = None) -> dict[str, list[str]]:
    """Return all captions of these rows, or of all images."""
    by_language = {}
    for language in images.captions:
        captions = all_captions(images, language)
        chosen = captions if rows is None else [captions[int(i)] for i in rows]
        by_language[language] = [text for texts in chosen for text in texts]
    return by_language


def _count_tokens(tokenizer: TextTokenizer, captions: Mapping[str, Sequence[str]]) -> list[int]:
    return [len(tokenizer.encode(text)) for texts in captions.values() for text in texts]
