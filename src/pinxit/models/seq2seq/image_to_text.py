"""Captioning and translation: text decoded by beam search or sampling.

A text depends on its own source only: sources are decoded in batches of one size, and texts are
padded to one length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pinxit.data.images import Images
from pinxit.data.text_tokenizer import EOS, PAD
from pinxit.errors import UsageError
from pinxit.models.generation import TOKENS, GenerationParams, resolve_params
from pinxit.models.inputs import check_images
from pinxit.models.results import ScoredText, TokenAttention
from pinxit.models.seq2seq.cached_decoder import Steps
from pinxit.models.seq2seq.generate import AT_ONCE, padded
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import Read, Tokens
from pinxit.nn.beam_search import Hypothesis, beam_search, sample_text
from pinxit.nn.chunking import map_in_fixed_batches
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams


class _TextDecoder(Seq2Seq):
    """What captioning and translation share."""

    def _next_token(self, source: Read) -> NextTokenLogProbs:
        return NextTokenLogProbs(self, Steps(self, source))

    def _scored_text(self, hypothesis: Hypothesis) -> ScoredText:
        text = self.text_tokenizer.decode(hypothesis.tokens).strip()
        return ScoredText(text, hypothesis.log_prob)

    def _search(
        self, source: Read, language_token: int, num_beams: int, num_texts: int, penalty: float
    ) -> list[list[ScoredText]]:
        if not 1 <= num_texts <= num_beams:
            raise UsageError(f"{num_texts} texts from {num_beams} beams: ask for 1 to {num_beams}.")
        n = len(source.hidden)
        start = torch.full((n,), language_token, device=self.device)
        repeated = Read(
            source.hidden.repeat_interleave(num_beams, 0),
            source.seen.repeat_interleave(num_beams, 0),
        )
        step = self._next_token(repeated)
        found = beam_search(step, start, self.length - 2, num_beams, penalty)
        return [[self._scored_text(one) for one in row[:num_texts]] for row in found]


class NextTokenLogProbs:
    """Log-probabilities of the next token; special tokens other than EOS are impossible."""

    def __init__(self, model: Seq2Seq, decoder: Steps) -> None:
        self.decoder = decoder
        token = torch.arange(model.vocab_size, device=model.device)
        self.impossible = (token < model.text_tokenizer.num_special_tokens) & (token != EOS)

    def __call__(self, token: Tensor, t: int, rows: Int64[Tensor, " n"] | None) -> Tensor:
        if rows is not None:
            self.decoder.take(rows)
        return self.decoder(token, t).masked_fill(self.impossible, -math.inf).log_softmax(-1)


class ImageCaptioning(_TextDecoder):
    """An image to text."""

    @torch.inference_mode()
    def caption(
        self,
        images: Images,
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        num_beams: int = 4,
        num_captions: int = 1,
        length_penalty: float = 0.6,
        **options: Any,
    ) -> list[list[ScoredText]]:
        """`num_captions` texts for each image, the best first.

        `language` None: English where it was trained on it, else its first language.

        By beam search; with a `temperature`, sampled from (seed, start + i) and sorted by their
        log-probability. Raises UsageError for an unknown language or a bad number.
        """
        language = language or self.text_tokenizer.default_language
        language_token = self.text_tokenizer.language_token(language)
        chosen = resolve_params(params, options, TOKENS, temperature=None)
        if chosen.temperature is None and (chosen.top_k or chosen.top_p):
            raise UsageError("top_k and top_p need a temperature: beam search samples nothing.")
        captions: list[list[ScoredText]] = []
        pixels = check_images(self.info, images)
        for start in range(0, len(pixels), AT_ONCE):
            rows = (torch.arange(AT_ONCE) + start).clamp(max=len(pixels) - 1)
            source = self.read(None, pixels[rows].to(self.device))
            if chosen.temperature is None:
                texts = self._search(
                    source, language_token, num_beams, num_captions, length_penalty
                )
            else:
                texts = self._sample_texts(source, language_token, num_captions, chosen, start)
            captions += texts[: len(pixels) - start]
        return captions

    def _sample_texts(
        self, source: Read, language_token: int, num_texts: int, params: GenerationParams, row: int
    ) -> list[list[ScoredText]]:
        n, sampling = len(source.hidden), SamplingParams.of(params)
        assert isinstance(params.seed, int), "texts have one seed"
        columns = []
        for k in range(num_texts):
            seed = params.seed + 1_000_003 * k
            u = per_image_uniform(n, self.length - 1, seed, params.start + row)[:, 0]
            start = torch.full((n,), language_token, device=self.device)
            columns.append(
                sample_text(self._next_token(source), start, u.to(self.device), sampling)
            )
        return [
            sorted((self._scored_text(one) for one in row), key=lambda text: -text.log_prob)
            for row in zip(*columns, strict=True)
        ]

    @torch.inference_mode()
    def caption_log_prob(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]:
        """log p(text|image) of each image and its own text, in nats; long texts are truncated."""
        pixels = check_images(self.info, images)
        tokens = padded(self.tokens_of(list(texts), languages, cut=True), self.length)

        def log_prob(pixels: Tensor, tokens: Tokens) -> Tensor:
            return self._log_prob(self.read(None, pixels.to(self.device)), tokens).cpu()

        return map_in_fixed_batches(log_prob, pixels, tokens, batch_size=AT_ONCE)[0].numpy()

    @torch.inference_mode()
    def caption_log_prob_matrix(
        self, images: Images, texts: Sequence[str], language: str
    ) -> Float32[np.ndarray, "images texts"]:
        """log p(text|image) of every text for every image, in nats."""
        pixels = check_images(self.info, images)
        tokens = self.tokens_of(list(texts), [language] * len(texts), cut=True)
        rows = []
        for one_image in pixels:
            source = self.read(None, one_image[None].to(self.device))
            hidden = source.hidden.expand(len(texts), -1, -1)
            repeated = Read(hidden, source.seen.expand(len(texts), -1))
            rows.append(self._log_prob(repeated, tokens).cpu())
        return torch.stack(rows).numpy()

    def _log_prob(self, source: Read, tokens: Tokens) -> Float32[Tensor, " n"]:
        targets = tokens[:, 1:]
        log_p = self.logits(source, tokens[:, :-1]).float().log_softmax(-1)
        per_token = log_p.gather(-1, targets[..., None])[..., 0]
        return per_token.masked_fill(targets == PAD, 0).sum(1)

    @torch.inference_mode()
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]:
        """For each image and its text: each token, and how much it attends to each image cell."""
        pixels = check_images(self.info, images)
        rows, columns = self.source_grid
        found = []
        for one_image, text in zip(pixels, texts, strict=True):
            source = self.read(None, one_image[None].to(self.device))
            tokens = self.tokens_of([text], [language], cut=True)
            maps = self.looking(source, tokens[:, :-1])[0, :, -rows * columns :].cpu().numpy()
            ids = tokens[0, 1:-1].tolist()
            found.append(
                [
                    TokenAttention(self.text_tokenizer.decode([i]), cells.reshape(rows, columns))
                    for i, cells in zip(ids, maps, strict=False)
                ]
            )
        return found


class Translation(_TextDecoder):
    """Text to text."""

    @torch.inference_mode()
    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        num_beams: int = 4,
        length_penalty: float = 0.6,
    ) -> list[ScoredText]:
        """Each text in the `target` language, by beam search.

        Raises UsageError for an empty text and for an unknown language.
        """
        if not all(text.strip() for text in texts):
            raise UsageError("a text is empty: there is nothing to translate.")
        language_token = self.text_tokenizer.language_token(target)
        tokens = self.tokens_of([text.strip() for text in texts], [source] * len(texts))
        tokens = padded(tokens, self.length)
        translations: list[ScoredText] = []
        for start in range(0, len(tokens), AT_ONCE):
            rows = (torch.arange(AT_ONCE) + start).clamp(max=len(tokens) - 1)
            encoded = self.read(tokens[rows], None)
            found = self._search(encoded, language_token, num_beams, 1, length_penalty)
            translations += [row[0] for row in found[: len(tokens) - start]]
        return translations
