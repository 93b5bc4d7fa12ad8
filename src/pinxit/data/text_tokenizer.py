"""Byte-level BPE text tokenizer (Sennrich 2015; Radford 2019), trained on the captions.

Decoding an encoded text gives the same text, for any Unicode: the base tokens are bytes. Token ids
start with special tokens, which no text encodes to: PAD, EOS, and one for each language.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pinxit.errors import UsageError, did_you_mean

DEFAULT_VOCAB_SIZE = 2_048  # BPE tokens, without the special ones
PAD, EOS = 0, 1  # followed by one language token per language, then the BPE tokens


@dataclass(frozen=True)
class TextTokenizer:
    """Text to token ids and back, in the languages of the training captions."""

    bpe: Tokenizer
    languages: tuple[str, ...]
    token_counts: dict[str, tuple[int, ...]]  # language -> count of each BPE token in its captions

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self.num_special_tokens + self.bpe.get_vocab_size()

    @property
    def num_special_tokens(self) -> int:
        """PAD, EOS and the language tokens; the first BPE token has this id."""
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
        """Return the token ids of a text, without special tokens."""
        return [self.num_special_tokens + token for token in self.bpe.encode(text).ids]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids; special tokens are skipped."""
        first = self.num_special_tokens
        return self.bpe.decode([token - first for token in tokens if token >= first])

    def detect_language(self, text: str) -> str:
        """Return the most likely language of a text, or the first of equally likely ones.

        Naive Bayes over BPE tokens, with add-one smoothing.
        """
        tokens = np.array(self.bpe.encode(text).ids, int)
        log_probs = [float(self._log_frequencies[name][tokens].sum()) for name in self.languages]
        return self.languages[int(np.argmax(log_probs))]

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text with a token that never occurs in the captions."""
        total_counts = np.sum(list(self.token_counts.values()), 0)

        def is_known(word: str) -> bool:
            return bool(total_counts[self.bpe.encode(word).ids].all())

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
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TextTokenizer:
        """Return the tokenizer of a record that `to_json` returned."""
        return cls(
            Tokenizer.from_str(json.dumps(record["bpe"])),
            tuple(record["languages"]),
            {name: tuple(counts) for name, counts in record["token_counts"].items()},
        )


def train_text_tokenizer(
    captions: Mapping[str, Sequence[str]], vocab_size: int = DEFAULT_VOCAB_SIZE
) -> TextTokenizer:
    """Train a tokenizer on captions by language; the same captions give the same tokenizer.

    `vocab_size` bounds the BPE tokens, the 256 bytes included. Raises UsageError if there are no
    captions.
    """
    texts = {language: [text for text in column if text] for language, column in captions.items()}
    languages = tuple(sorted(language for language in texts if texts[language]))
    if not languages:
        raise UsageError("there are no captions to train a text tokenizer on.")
    bpe = _byte_level_bpe(None)
    trainer = trainers.BpeTrainer(
        vocab_size=max(256, vocab_size),  # pyright: ignore[reportCallIssue]
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((text for name in languages for text in texts[name]), trainer)
    token_counts = {name: _count_tokens(bpe, texts[name]) for name in languages}
    return TextTokenizer(bpe, languages, token_counts)


def byte_level_tokenizer(languages: tuple[str, ...]) -> TextTokenizer:
    """Return an untrained tokenizer: its tokens are the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = _byte_level_bpe({letter: i for i, letter in enumerate(alphabet)})
    return TextTokenizer(bpe, languages, {name: (0,) * len(alphabet) for name in languages})


def _byte_level_bpe(vocab: dict[str, int] | None) -> Tokenizer:
    bpe = Tokenizer(models.BPE() if vocab is None else models.BPE(vocab, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return bpe


def _count_tokens(bpe: Tokenizer, texts: Sequence[str]) -> tuple[int, ...]:
    tokens = [token for encoding in bpe.encode_batch(list(texts)) for token in encoding.ids]
    return tuple(np.bincount(tokens, minlength=bpe.get_vocab_size()).tolist())
