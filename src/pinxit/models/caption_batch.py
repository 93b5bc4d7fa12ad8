"""Texts of a batch: sample one per image, and drop some for classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.data.keywords import JOINER
from pinxit.errors import UsageError
from pinxit.nn.batch_share import batch_rand, batch_randint

if TYPE_CHECKING:
    from pinxit.data.text_tokenizer import TextTokenizer


MAX_KEYWORDS = 4  # in a text: a batch takes as long as its longest text


class CaptionBatch(NamedTuple):
    """A text for each image, None if it has none, and its language."""

    texts: list[str | None]
    languages: list[str]

    def select(self, rows: slice) -> CaptionBatch:
        return CaptionBatch(self.texts[rows], self.languages[rows])


def sample_captions(batch: Batch, languages: Sequence[str]) -> tuple[CaptionBatch, CaptionBatch]:
    """Sample a caption for each image, and one of the same image in another language.

    Uniform over an image's languages, then over its captions in that language. Raises UsageError if
    no image has a caption.
    """
    captions = batch.captions
    if not captions:
        raise UsageError("these images have no captions to learn from.")
    first, second = CaptionBatch([], []), CaptionBatch([], [])
    for i, (u1, u2) in enumerate(batch_rand(len(batch), 2).tolist()):
        available = [name for name in captions if name in languages and captions[name][i]]
        language, u1 = _pick(available, u1)
        other, u2 = _pick([name for name in available if name != language], u2)
        for sampled, name, u in ((first, language, u1), (second, other, u2)):
            sampled.texts.append(None if name is None else _pick(_captions(batch, name, i), u)[0])
            sampled.languages.append(name or languages[0])
    return first, second


def sample_training_texts(
    batch: Batch, tokenizer: TextTokenizer, max_tokens: int, keyword_share: float
) -> CaptionBatch:
    """Sample a text for each image to draw it from: a caption, keywords or both.

    Where an image has keywords in the language of its caption, the text has some with probability
    `keyword_share`: half of the time the caption and then keywords, else keywords alone. An image
    without a caption has keywords. Their number is uniform, at most `MAX_KEYWORDS`, their order
    random; keywords that do not fit into `max_tokens` are left out.

    Raises UsageError if no image has a caption.
    """
    captions, _ = sample_captions(batch, tokenizer.languages)
    if not batch.keywords or not keyword_share:  # the same random numbers as without the option
        return captions
    seeds = batch_randint(0, 2**62, len(batch))  # an image may have any number of keywords
    sampled = CaptionBatch([], [])
    for i, (text, language) in enumerate(zip(*captions, strict=True)):
        random = Random(int(seeds[i]))
        if text is None:
            available = [n for n in tokenizer.languages if _keywords(batch, n, i)]
            language = random.choice(available or [language])
        keywords = _keywords(batch, language, i)
        if keywords and (text is None or random.random() < keyword_share):
            text = _add_keywords(random, text, keywords, tokenizer, max_tokens)
        sampled.texts.append(text)
        sampled.languages.append(language)
    return sampled


def _add_keywords(
    random: Random,
    caption: str | None,
    keywords: Sequence[str],
    tokenizer: TextTokenizer,
    max_tokens: int,
) -> str | None:
    """Return a caption with random keywords, or these alone; the caption if none of them fits."""
    subset = random.sample(keywords, random.randint(1, min(len(keywords), MAX_KEYWORDS)))
    is_list = caption == JOINER.join(keywords)  # which has no caption but its keywords
    parts = [caption] if caption and not is_list and random.random() < 0.5 else []
    room = max_tokens - sum(len(tokenizer.encode(part)) for part in parts)
    for keyword in subset:
        part = f"{JOINER}{keyword}" if parts else keyword
        length = len(tokenizer.encode(part))  # a comma is a token: the lengths of parts add up
        if length <= room:
            parts.append(part)
            room -= length
    return "".join(parts) or caption


def _keywords(batch: Batch, language: str, i: int) -> Sequence[str]:
    column = batch.keywords.get(language)
    return column[i] if column else ()


def _captions(batch: Batch, language: str, i: int) -> list[str]:
    more = batch.more_captions.get(language)
    return [batch.captions[language][i], *(more[i] if more else ())]


def _pick(items: list[str], u: float) -> tuple[str | None, float]:
    """Pick an item with u in [0, 1); the remainder is uniform again, for the next choice."""
    if not items:
        return None, u
    index = int(u * len(items))
    return items[index], u * len(items) - index


def drop_captions(texts: Sequence[str | None], probability: float | Tensor) -> list[str | None]:
    """Replace each text by None with a probability of all or of each.

    (Ho & Salimans 2022, algorithm 1.)
    """
    drop = (batch_rand(len(texts)) < probability).tolist()
    return [None if dropped else text for text, dropped in zip(texts, drop, strict=True)]
