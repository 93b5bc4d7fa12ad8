"""Byte-level text tokenizer (Sennrich 2015; Radford 2019), trained on the captions.

Its tokens are those that the captions consist of. Decoding an encoded text gives the same text, in
Unicode form C, without the characters that no token stands for: a model has never read them, and
`unknown_words` names them. Token ids start with special tokens, which no text encodes to: PAD, EOS,
and one for each language.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer, pre_tokenizers

from pinxit.data.text_vocabulary import (
    UNKNOWN,
    byte_tokenizer,
    fit_vocabulary,
    is_unspaced,
    split_text,
)
from pinxit.data.unicode_forms import replace_surrogates
from pinxit.errors import UsageError, did_you_mean

DEFAULT_VOCAB_SIZE = 2_048  # tokens without the special ones
MAX_WORDS = 100_000  # that are stored to find unknown ones, the most frequent
MAX_ENCODED = 200_000  # texts whose tokens are kept


@dataclass(frozen=True)
class TextTokenizer:
    """Text to token ids and back, in the languages of the training captions."""

    bpe: Tokenizer
    languages: tuple[str, ...]
    token_counts: dict[str, tuple[int, ...]]  # language -> count of each token in its captions
    words: frozenset[str] = frozenset()  # of the captions; empty in tokenizers of older runs
    words_have_spaces: bool = False  # whether `words` have the space that is written before them

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self.num_special_tokens + self.num_text_tokens

    @property
    def num_text_tokens(self) -> int:
        """Number of token ids that texts have; in tokenizers of older runs, some have none."""
        return self.bpe.get_vocab_size() - (self._unknown_id is not None)

    @property
    def num_special_tokens(self) -> int:
        """PAD, EOS and the language tokens; the first token of a text has this id."""
        return 2 + len(self.languages)

    @property
    def default_language(self) -> str:
        """English if the captions have it, else the first language."""
        return "en" if "en" in self.languages else self.languages[0]

    def language_token(self, language: str) -> int:
        """Return the id of a language's token. Raises UsageError for an unknown language."""
        if language not in self.languages:
            known = ", ".join(self.languages) or "none"
            raise UsageError(
                f"no language '{language}' in these captions; there are: {known}."
                f"{did_you_mean(language, self.languages)}"
            )
        return 2 + self.languages.index(language)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without special tokens.

        A word that is not in the captions as it is written is read as they write it: in lower
        case, with a space before it, or without. Characters that are still unknown are left out.
        """
        return [self.num_special_tokens + token for token in self._encode(text)]

    def _encode(self, text: str) -> list[int]:
        if self._unknown_id is None:  # an older run: a comma need not be a token of its own
            return self._encode_part(text)
        # of lists of keywords, that training makes anew each time, the parts repeat
        return [token for part in re.split("(?=, )", text) for token in self._encode_part(part)]

    def _encode_part(self, text: str) -> list[int]:
        if (tokens := self._cache.get(text)) is None:
            tokens = self._encode_anew(replace_surrogates(text))
            if len(self._cache) < MAX_ENCODED:
                self._cache[text] = tokens
        return tokens

    @cached_property
    def _cache(self) -> dict[str, list[int]]:
        """Parts of texts that were encoded before: in training each caption is, many times."""
        return {}

    def _encode_anew(self, text: str) -> list[int]:
        if self._unknown_id is None:  # an older run: every byte has a token
            return self.bpe.encode(text).ids
        segments = split_text(text)
        forms = [self._form_in_captions(segment) for segment in segments]
        encodings = self.bpe.encode_batch(forms)
        return [token for encoding in encodings for token in self._drop_unknown(encoding)]

    def _form_in_captions(self, segment: str) -> str:
        """Return the form in which the captions have a word, or the word if they have none."""
        if segment in self.words or not (self.words_have_spaces and segment.strip().isalpha()):
            return segment
        other = segment[1:] if segment.startswith(" ") else f" {segment}"
        forms = (other, segment.lower(), other.lower())
        return next((form for form in forms if form in self.words), segment)

    def _drop_unknown(self, encoding: Encoding) -> list[int]:
        """Return the tokens without characters that no token stands for."""
        if self._unknown_id not in encoding.ids:
            return encoding.ids
        left_out = self._find_unknown(encoding)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        # also without a token for some of the bytes of a character that is left out
        return [token for token, (start, _) in pairs if start not in left_out]

    def _find_unknown(self, encoding: Encoding) -> set[int]:
        """Return the positions of the characters that no token stands for."""
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        spans = (span for token, span in pairs if token == self._unknown_id)
        return {position for span in spans for position in range(*span)}

    @cached_property
    def _unknown_id(self) -> int | None:
        return self.bpe.token_to_id(UNKNOWN)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids; special tokens are skipped."""
        first = self.num_special_tokens
        return self.bpe.decode([token - first for token in tokens if token >= first])

    def detect_language(self, text: str) -> str:
        """Return the most likely language of a text, or the first of equally likely ones.

        Naive Bayes over tokens, with add-one smoothing.
        """
        tokens = np.array(self._encode(text), int)
        log_probs = [float(self._log_frequencies[name][tokens].sum()) for name in self.languages]
        return self.languages[int(np.argmax(log_probs))]

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that never occur in the captions.

        In scripts without spaces between words, these are characters. Punctuation is left out.
        """
        if not self.words:
            return self._words_with_unknown_tokens(text)
        unknown: list[str] = []
        for segment in split_text(replace_surrogates(text)):
            if is_unspaced(segment):
                unknown += self._unknown_parts(segment)
            elif _is_word(segment) and not self._is_known(segment):
                unknown.append(segment.strip())
        return unknown

    def _is_known(self, segment: str) -> bool:
        return self._form_in_captions(segment) in self.words or segment.strip() in self.words

    def _unknown_parts(self, text: str) -> list[str]:
        """Return the rows of characters of a text that no token stands for."""
        left_out = self._find_unknown(self.bpe.encode(text))
        marked = "".join(c if i in left_out else " " for i, c in enumerate(text))
        return marked.split()

    def _words_with_unknown_tokens(self, text: str) -> list[str]:
        total_counts = np.sum(list(self.token_counts.values()), 0)

        def is_known(word: str) -> bool:
            return bool(total_counts[self._encode(word)].all())

        # a token inside a text includes the space before it
        words = re.findall(r"\w+", text)
        return [word for word in words if not is_known(word) and not is_known(f" {word}")]

    @cached_property
    def _log_frequencies(self) -> dict[str, np.ndarray]:
        log_frequencies = {}
        for language, counts in self.token_counts.items():
            smoothed = np.array(counts) + 1
            log_frequencies[language] = np.log(smoothed) - math.log(smoothed.sum())
        return log_frequencies

    def to_json(self) -> dict[str, Any]:
        """Return a record for `from_json`."""
        return {
            "bpe": json.loads(self.bpe.to_str()),
            "languages": list(self.languages),
            "token_counts": {name: list(counts) for name, counts in self.token_counts.items()},
            "words": sorted(self.words),
            "words_have_spaces": self.words_have_spaces,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TextTokenizer:
        """Return the tokenizer of a record that `to_json` returned."""
        return cls(
            Tokenizer.from_str(json.dumps(record["bpe"])),
            tuple(record["languages"]),
            {name: tuple(counts) for name, counts in record["token_counts"].items()},
            frozenset(record.get("words", ())),
            record.get("words_have_spaces", False),
        )


def train_text_tokenizer(
    captions: Mapping[str, Sequence[str]], vocab_size: int = DEFAULT_VOCAB_SIZE
) -> TextTokenizer:
    """Train a tokenizer on captions by language; the same captions give the same tokenizer.

    `vocab_size` bounds the tokens of texts, the 256 bytes included. Every token that a text can
    have occurs in the captions. Raises UsageError if there are none.
    """
    segments = {language: _count_segments(column) for language, column in captions.items()}
    languages = tuple(sorted(language for language in segments if segments[language]))
    if not languages:
        raise UsageError("there are no captions to train a text tokenizer on.")
    total = sum((segments[name] for name in languages), Counter())
    bpe = fit_vocabulary(total, max(256, vocab_size))
    token_counts = {name: _count_tokens(bpe, segments[name]) for name in languages}
    words = frozenset(word for word, _ in total.most_common(MAX_WORDS))
    return TextTokenizer(bpe, languages, token_counts, words, words_have_spaces=True)


def _count_segments(texts: Sequence[str]) -> Counter[str]:
    """Count the words of texts, each with the space before it, and their other characters."""
    segments: Counter[str] = Counter()
    for text, count in Counter(texts).items():
        for segment in split_text(replace_surrogates(text)):
            segments[segment] += count
    return segments


def _is_word(segment: str) -> bool:
    """Return whether a segment of text has a letter, a number or a symbol such as an emoji."""
    return any(unicodedata.category(character)[0] in "LNS" for character in segment)


def byte_level_tokenizer(languages: tuple[str, ...]) -> TextTokenizer:
    """Return an untrained tokenizer: its tokens are the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = byte_tokenizer({letter: i for i, letter in enumerate(alphabet)})
    return TextTokenizer(bpe, languages, {name: (0,) * len(alphabet) for name in languages})


def _count_tokens(bpe: Tokenizer, segments: Mapping[str, int]) -> tuple[int, ...]:
    counts = [0] * bpe.get_vocab_size()  # the unknown token is the last one, with a count of 0
    for encoding, count in zip(bpe.encode_batch(list(segments)), segments.values(), strict=True):
        for token in encoding.ids:
            counts[token] += count
    return tuple(counts)
