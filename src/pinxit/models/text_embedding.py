"""Text to token ids and their embeddings, shared by source and target (Vaswani 2017, 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from pinxit.data.special_tokens import EOS, PAD
from pinxit.errors import UsageError
from pinxit.models.caption_batch import CaptionBatch
from pinxit.models.saved_state import TextTokenizerState

if TYPE_CHECKING:
    from pinxit.data.text_tokenizer import TextTokenizer

Tokens = Int64[Tensor, "batch length"]  # language token, BPE tokens, EOS, then PAD

MAX_CHARACTERS_PER_TOKEN = 40  # when a text is truncated; BPE tokens are shorter


class TextEmbedding(nn.Module):
    """The text tokenizer of the training captions, and an embedding for each token."""

    def __init__(
        self, languages: tuple[str, ...], bpe_vocab_size: int, max_text_tokens: int, width: int
    ) -> None:
        super().__init__()
        self.tokenizer_state = TextTokenizerState(languages)
        self.vocab_size = 2 + len(languages) + bpe_vocab_size
        self.max_text_tokens = max_text_tokens
        self.max_len = max_text_tokens + 2  # with the language token and EOS
        self.token_embed = nn.Embedding(self.vocab_size, width)

    @property
    def tokenizer(self) -> TextTokenizer:
        return self.tokenizer_state.tokenizer

    def tokenize(
        self, texts: Sequence[str | None], languages: Sequence[str], truncate: bool = False
    ) -> Tokens:
        """Tokenize texts as language token, BPE tokens, EOS, padded to the longest.

        None becomes EOS alone. Raises UsageError for a text that is too long, unless `truncate`.
        """
        rows = [
            [EOS] if text is None else self._tokenize_text(text, language, truncate)
            for text, language in zip(texts, languages, strict=True)
        ]
        longest = max(map(len, rows), default=1)
        rows = [row + [PAD] * (longest - len(row)) for row in rows]
        tokens = torch.tensor(rows, dtype=torch.long, device=self.token_embed.weight.device)
        return tokens.reshape(len(rows), longest)

    def _tokenize_text(self, text: str, language: str, truncate: bool) -> list[int]:
        tokens = self.tokenizer.encode(text)
        if len(tokens) > self.max_text_tokens and not truncate:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            raise UsageError(
                f"this text has {len(tokens)} tokens, the model takes at most "
                f"{self.max_text_tokens}: '{shown}'. Shorten it."
            )
        language_token = self.tokenizer.language_token(language)
        return [language_token, *tokens[: self.max_text_tokens], EOS]

    def check(self, texts: Sequence[str], language: str | None) -> CaptionBatch:
        """Strip the texts of a user, and detect their languages where `language` is None.

        Raises UsageError for no text, for one that is empty or too long, and for an unknown
        language.
        """
        if not texts:
            raise UsageError("no text: there is nothing to draw.")
        stripped = [text.strip() for text in texts]
        if not all(stripped):
            raise UsageError("a text is empty.")
        languages = [language or self.tokenizer.detect_language(text) for text in stripped]
        self.tokenize(stripped, languages)
        return CaptionBatch(list(stripped), languages)

    def truncate(self, text: str) -> str:
        """Cut a text, at a word if possible, until it has at most `max_text_tokens` tokens."""
        text = " ".join(text.split()) or "?"
        text = text[: MAX_CHARACTERS_PER_TOKEN * self.max_text_tokens]
        while len(self.tokenizer.encode(text)) > self.max_text_tokens:
            shorter = text[: int(len(text) * 0.9)]
            text = shorter.rsplit(" ", 1)[0] if " " in shorter else shorter
        return text


def pad_tokens(tokens: Tokens, length: int) -> Tokens:
    """Pad tokens to a length with PAD."""
    return nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=PAD)
