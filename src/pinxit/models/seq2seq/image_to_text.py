"""Captioning and translation: text decoded by beam search or sampling.

A text depends on its own source only: sources are decoded in batches of one size, and texts are
padded to one length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.data.special_tokens import EOS, PAD
from pinxit.errors import UsageError
from pinxit.models.generation import TOKENS, GenerationParams, resolve_params
from pinxit.models.inputs import check_images, check_translation
from pinxit.models.results import CaptionStep, ScoredText, TokenAttention
from pinxit.models.seq2seq.cached_decoder import CachedDecoder
from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.seq2seq.generate import DECODE_BATCH
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import ImageSource
from pinxit.models.seq2seq.targets import TextTarget
from pinxit.models.text_embedding import Tokens, pad_tokens
from pinxit.models.text_options import (
    LENGTH_PENALTY,
    NUM_BEAMS,
    check_length_penalty,
    resolve_beam_search,
)
from pinxit.nn.batching import map_in_fixed_batches
from pinxit.nn.beam_search import Hypothesis, beam_search, sample_text
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams

SEED_STRIDE = 1_000_003  # between the seeds of several texts for one image


class NextTokenLogProbs:
    """Log-probabilities of the next token; special tokens are impossible, and EOS as the first."""

    def __init__(self, model: Seq2Seq[TextTarget], encoded: EncoderOutput) -> None:
        self.decoder = CachedDecoder(model, encoded)
        token = torch.arange(model.text.vocab_size, device=model.device)
        self.impossible = (token < model.text_tokenizer.num_special_tokens) & (token != EOS)

    def __call__(self, token: Tensor, t: int, rows: Int64[Tensor, " n"] | None) -> Tensor:
        if rows is not None:
            self.decoder.select_rows(rows)
        logits = self.decoder(token, t).masked_fill(self.impossible, -math.inf)
        log_probs = logits.log_softmax(-1)
        if t == 0:  # no caption is empty; not normalized again: it stays log p(text | image)
            log_probs[:, EOS] = -math.inf
        return log_probs


class _TextDecoder(Seq2Seq[TextTarget]):
    """The common part of captioning and translation."""

    def _to_scored_text(self, hypothesis: Hypothesis) -> ScoredText:
        text = self.text_tokenizer.decode(hypothesis.tokens).strip()
        return ScoredText(text, hypothesis.log_prob)

    def _beam_search(
        self,
        encoded: EncoderOutput,
        language_token: int,
        num_beams: int,
        num_texts: int,
        penalty: float,
    ) -> list[list[ScoredText]]:
        if not 1 <= num_texts <= num_beams:
            raise UsageError(f"{num_texts} texts from {num_beams} beams: ask for 1 to {num_beams}.")
        start = torch.full((len(encoded.hidden),), language_token, device=self.device)
        step = NextTokenLogProbs(self, encoded.repeat_interleave(num_beams))
        hypotheses = beam_search(step, start, self.max_text_tokens, num_beams, penalty)
        return [[self._to_scored_text(h) for h in row[:num_texts]] for row in hypotheses]


class ImageCaptioning(_TextDecoder):
    """An image to text."""

    def source_and_target(self, batch: Batch) -> tuple[Sequence[Tensor], Tokens]:
        captions, _ = self.sample_captions(batch)
        return [batch.pixels], self.text.tokenize(*captions, truncate=True)

    @torch.inference_mode()
    def caption(
        self,
        images: Images,
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        num_beams: int | None = None,
        num_captions: int = 1,
        length_penalty: float | None = None,
        **options: Any,
    ) -> list[list[ScoredText]]:
        """Return `num_captions` texts for each image, the best first.

        By beam search, by default of 4 beams with a length penalty of 0.6; with a `temperature`,
        sampled from (seed, start + i) and sorted by their log-probability. `language` None: English
        if the captions have it, else their first language. Raises UsageError for an unknown
        language and for parameters out of range.
        """
        language = language or self.text_tokenizer.default_language
        language_token = self.text_tokenizer.language_token(language)
        params = resolve_params(params, options, TOKENS, temperature=None)
        beams, penalty = resolve_beam_search(params, num_beams, length_penalty, num_captions)
        captions: list[list[ScoredText]] = []
        pixels = check_images(self.info, images)
        for start in range(0, len(pixels), DECODE_BATCH):
            rows = (torch.arange(DECODE_BATCH) + start).clamp(max=len(pixels) - 1)
            encoded = self.encode_source([pixels[rows].to(self.device)])
            if params.temperature is None:
                texts = self._beam_search(encoded, language_token, beams, num_captions, penalty)
            else:
                texts = self._sample_texts(encoded, language_token, num_captions, params, start)
            captions += texts[: len(pixels) - start]
        return captions

    def _sample_texts(
        self,
        encoded: EncoderOutput,
        language_token: int,
        num_texts: int,
        params: GenerationParams,
        first_row: int,
    ) -> list[list[ScoredText]]:
        """Sample texts for each row, sorted by log-probability."""
        n, sampling = len(encoded.hidden), SamplingParams.from_options(params)
        assert isinstance(params.seed, int), "texts have one seed"
        columns = []
        for k in range(num_texts):
            seed, first = params.seed + SEED_STRIDE * k, params.start + first_row
            u = per_image_uniform(n, self.target.length, seed, first)[:, 0].to(self.device)
            start = torch.full((n,), language_token, device=self.device)
            step = NextTokenLogProbs(self, encoded)
            columns.append(sample_text(step, start, u, sampling))
        return [
            sorted(map(self._to_scored_text, row), key=lambda text: -text.log_prob)
            for row in zip(*columns, strict=True)
        ]

    @torch.inference_mode()
    def caption_log_prob(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]:
        """log p(text|image) of each image and its text, in nats; long texts are truncated."""
        pixels = check_images(self.info, images)
        tokens = self.text.tokenize(texts, languages, truncate=True)
        tokens = pad_tokens(tokens, self.text.max_len)

        def log_prob(pixels: Tensor, tokens: Tokens) -> Tensor:
            return self._log_prob(self.encode_source([pixels.to(self.device)]), tokens).cpu()

        return map_in_fixed_batches(log_prob, pixels, tokens, batch_size=DECODE_BATCH)[0].numpy()

    @torch.inference_mode()
    def caption_log_prob_matrix(
        self, images: Images, texts: Sequence[str], language: str
    ) -> Float32[np.ndarray, "images texts"]:
        """log p(text|image) of every text for every image, in nats."""
        pixels = check_images(self.info, images)
        tokens = self.text.tokenize(texts, [language] * len(texts), truncate=True)
        rows = []
        for image in pixels:
            encoded = self.encode_source([image[None].to(self.device)])
            rows.append(self._log_prob(encoded.expand(len(texts)), tokens).cpu())
        return torch.stack(rows).numpy()

    def _log_prob(self, encoded: EncoderOutput, tokens: Tokens) -> Float32[Tensor, " n"]:
        targets = tokens[:, 1:]
        log_probs = self.logits(encoded, tokens[:, :-1]).float().log_softmax(-1)
        token_log_probs = log_probs.gather(-1, targets[..., None])[..., 0]
        return token_log_probs.masked_fill(targets == PAD, 0).sum(1)

    @torch.inference_mode()
    def trace_caption(
        self, image: Images, *, language: str | None = None, num_candidates: int = 5
    ) -> list[CaptionStep]:
        """Decode the caption of one image greedily, and return each step.

        `language` None: as in `caption`. Raises UsageError for an unknown language.
        """
        language = language or self.text_tokenizer.default_language
        tokens = [self.text_tokenizer.language_token(language)]
        encoded = self.encode_source([check_images(self.info, image).to(self.device)])
        step, candidates = NextTokenLogProbs(self, encoded), []
        for t in range(self.max_text_tokens):
            last = torch.tensor(tokens[-1:], device=self.device)
            probs = step(last, t, None)[0].exp()
            best = probs.topk(min(num_candidates, len(probs)))
            candidates.append(list(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
            tokens.append(candidates[-1][0][0])
            if tokens[-1] == EOS:
                break
        prefix = torch.tensor([tokens[:-1]], device=self.device)
        maps = self.cross_attention_map(encoded, prefix)[0].cpu().numpy()
        grid, decode = cast(ImageSource, self.sources[0]).grid, self.text_tokenizer.decode
        return [
            CaptionStep(
                decode(tokens[1 : t + 1]),
                [("" if token == EOS else decode([token]), p) for token, p in candidates[t]],
                maps[t].reshape(grid),
            )
            for t in range(len(candidates))
        ]

    @torch.inference_mode()
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]:
        """Return how much each token attends to each image cell, for each image and its text."""
        pixels = check_images(self.info, images)
        return [
            self._attention_of_one(image, text, language)
            for image, text in zip(pixels, texts, strict=True)
        ]

    def _attention_of_one(
        self, pixels: UInt8[Tensor, "height width channel"], text: str, language: str
    ) -> list[TokenAttention]:
        grid = cast(ImageSource, self.sources[0]).grid
        encoded = self.encode_source([pixels[None].to(self.device)])
        tokens = self.text.tokenize([text], [language], truncate=True)
        maps = self.cross_attention_map(encoded, tokens[:, :-1])[0].cpu().numpy()
        # the first map is that of the language token, which predicts the first token
        pairs = zip(tokens[0, 1:-1].tolist(), maps, strict=False)
        return [
            TokenAttention(self.text_tokenizer.decode([token]), cells.reshape(grid))
            for token, cells in pairs
        ]


class Translation(_TextDecoder):
    """A text to the same text in another language."""

    def source_and_target(self, batch: Batch) -> tuple[Sequence[Tensor], Tokens]:
        sources, targets = self.sample_captions(batch)
        tokens = self.text.tokenize(*sources, truncate=True)
        return [tokens], self.text.tokenize(*targets, truncate=True)

    @torch.inference_mode()
    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        num_beams: int = NUM_BEAMS,
        length_penalty: float = LENGTH_PENALTY,
    ) -> list[ScoredText]:
        """Translate each text to the `target` language, by beam search.

        Raises UsageError for no text, for one that is empty or too long, for an unknown language,
        and for two equal ones.
        """
        check_translation(source, target)
        if not texts:
            raise UsageError("no text: there is nothing to translate.")
        if not all(text.strip() for text in texts):
            raise UsageError("a text is empty: there is nothing to translate.")
        check_length_penalty(length_penalty)
        language_token = self.text_tokenizer.language_token(target)
        tokens = self.text.tokenize([text.strip() for text in texts], [source] * len(texts))
        tokens = pad_tokens(tokens, self.text.max_len)
        translations: list[ScoredText] = []
        for start in range(0, len(tokens), DECODE_BATCH):
            rows = (torch.arange(DECODE_BATCH) + start).clamp(max=len(tokens) - 1)
            encoded = self.encode_source([tokens[rows]])
            best = self._beam_search(encoded, language_token, num_beams, 1, length_penalty)
            translations += [row[0] for row in best[: len(tokens) - start]]
        return translations
