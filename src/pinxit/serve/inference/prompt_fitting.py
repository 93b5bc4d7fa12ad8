"""Fit the prompts of a conversation into what a model reads: the newest words win."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pinxit.models.protocols import HasText

JOINER = ", "


class FittedPrompt(NamedTuple):
    """What a model reads of the prompts, and what it does not."""

    text: str
    left_out: str  # the oldest prompts, or the end of the newest
    unknown_words: tuple[str, ...]  # of `text`, that no training caption has


def fit_prompts(
    model: HasText, prompts: Sequence[str], clean: Callable[[str], str] = str.strip
) -> FittedPrompt:
    """Join as many of the newest prompts as the model reads; of the newest alone, its beginning.

    `clean` takes what is not for the model from the joined text, as a request's opening phrase.
    """
    parts = [" ".join(prompt.split()) for prompt in prompts]
    parts = [part for part in parts if part] or [""]
    text, count = "", 0
    while count < len(parts):  # from the newest on, so that a long history costs nothing
        longer = clean(JOINER.join(parts[len(parts) - count - 1 :]))
        if model.truncate_text(longer) != longer:
            break
        text, count = longer, count + 1
    if count:
        return _describe(model, text, parts[: len(parts) - count])
    newest = clean(parts[-1])
    text = model.truncate_text(newest)
    return _describe(model, text, [*parts[:-1], newest.removeprefix(text).strip()])


def _describe(model: HasText, text: str, left_out: Sequence[str]) -> FittedPrompt:
    unknown = dict.fromkeys(model.text_tokenizer.unknown_words(text))
    return FittedPrompt(text, JOINER.join(part for part in left_out if part), tuple(unknown))
