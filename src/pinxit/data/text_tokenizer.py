"""Captions to integers and back: a byte-level BPE (Sennrich 2015; Radford 2019), trained on them.

Any Unicode goes in and comes out unchanged, since the smallest pieces are bytes. Marks that are no
text (padding, the end, a language) are numbers of their own, which no text can spell.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SIZE = 2_048  # pieces, where the captions have as many
PAD, EOS = 0, 1  # then one number for each language, then the pieces


@dataclass(frozen=True)
class TextTokenizer:
    """The pieces that captions are made of, and the languages they came in."""

    pieces: Tokenizer
    languages: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]  # language -> how often each piece stood in its captions

    @property
    def size(self) -> int:
        """All numbers that there are: marks and pieces."""
        return self.first + self.pieces.get_vocab_size()

    @property
    def first(self) -> int:
        """The first piece's number: before it are the marks."""
        return 2 + len(self.languages)

    @property
    def default_language(self) -> str:
        """English where it is there, else the first."""
        return "en" if "en" in self.languages else self.languages[0]

    def language_token(self, language: str) -> int:
        """The number that a text of a language begins with. Raises UsageError for another one."""
        if language not in self.languages:
            known = ", ".join(self.languages) or "none"
            raise UsageError(
                f"no language '{language}' in these captions; there are: {known}."
                f"{did_you_mean(language, self.languages)}"
            )
        return 2 + self.languages.index(language)

    def encode(self, text: str) -> list[int]:
        """A text's pieces, without any mark."""
        return [self.first + number for number in self.pieces.encode(text).ids]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of pieces; marks among them are left out."""
        return self.pieces.decode([n - self.first for n in numbers if n >= self.first])

    def detect_language(self, text: str) -> str:
        """The language that a text is most likely in, by how often its pieces stand in each.

        Naive Bayes with one added to every count; the first language where all are as likely.
        """
        found = np.array(self.pieces.encode(text).ids, int)
        scores = [float(self._log_shares[language][found].sum()) for language in self.languages]
        return self.languages[int(np.argmax(scores))]

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that surely stood in no caption: pieces of theirs stood in none."""
        seen = np.sum(list(self.counts.values()), 0)

        def known(word: str) -> bool:
            return bool(seen[self.pieces.encode(word).ids].all())

        # pieces within a text begin with their space
        words = re.findall(r"\w+", text)
        return [word for word in words if not known(word) and not known(f" {word}")]

    @cached_property
    def _log_shares(self) -> dict[str, np.ndarray]:
        shares = {}
        for language, counts in self.counts.items():
            added = np.array(counts) + 1
            shares[language] = np.log(added) - math.log(added.sum())
        return shares

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes; it travels in a run's folder."""
        return {
            "pieces": json.loads(self.pieces.to_str()),
            "languages": list(self.languages),
            "counts": {name: list(counts) for name, counts in self.counts.items()},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TextTokenizer:
        """The same words again."""
        from tokenizers import Tokenizer

        return cls(
            Tokenizer.from_str(json.dumps(record["pieces"])),
            tuple(record["languages"]),
            {name: tuple(counts) for name, counts in record["counts"].items()},
        )


def train_text_tokenizer(captions: Mapping[str, Sequence[str]], size: int = SIZE) -> TextTokenizer:
    """Words for captions by language; the same for the same captions.

    `size` is the most pieces there may be, the 256 bytes among them. Raises UsageError where there
    are no captions.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    spoken = {name: [text for text in texts if text] for name, texts in captions.items()}
    spoken = {name: texts for name, texts in spoken.items() if texts}
    if not spoken:
        raise UsageError("there are no captions to learn words from.")
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    pieces.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=max(256, size),  # pyright: ignore[reportCallIssue]
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    languages = tuple(sorted(spoken))
    pieces.train_from_iterator((text for name in languages for text in spoken[name]), trainer)
    counts = {name: _counted(pieces, spoken[name]) for name in languages}
    return TextTokenizer(pieces, languages, counts)


def _counted(pieces: Tokenizer, texts: Sequence[str]) -> tuple[int, ...]:
    found = [number for one in pieces.encode_batch(list(texts)) for number in one.ids]
    return tuple(np.bincount(found, minlength=pieces.get_vocab_size()).tolist())
