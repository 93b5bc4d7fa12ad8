"""Captioning and translation: text decoded by beam search or sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pinxit.data.images import Images
from pinxit.data.text_tokenizer import EOS, PAD
from pinxit.errors import UsageError
from pinxit.models.inputs import pixels_for
from pinxit.models.protocols import ScoredText
from pinxit.models.seq2seq.cached_decoder import Steps
from pinxit.models.seq2seq.generate import AT_ONCE, padded
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import Read, Tokens
from pinxit.nn.beam_search import Found, beam_search, by_chance
from pinxit.nn.chunking import map_in_fixed_batches
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams


class _Wording(Seq2Seq):
    """What captioning and translating share."""

    def _step(self, read: Read) -> _Decoded:
        return _Decoded(self, Steps(self, read))

    def _worded(self, found: Found) -> ScoredText:
        return ScoredText(self.words.decode(found.tokens).strip(), found.log_p)

    def _searched(
        self, read: Read, mark: int, beams: int, count: int, penalty: float
    ) -> list[list[ScoredText]]:
        if not 1 <= count <= beams:
            raise UsageError(f"{count} texts of {beams} beams: ask for 1 to {beams}.")
        n = len(read.hidden)
        start = torch.full((n,), mark, device=self.device)
        step = self._step(
            Read(read.hidden.repeat_interleave(beams, 0), read.seen.repeat_interleave(beams, 0))
        )
        found = beam_search(step, start, self.length - 2, beams, penalty)
        return [[self._worded(one) for one in row[:count]] for row in found]


class _Decoded:
    """Log-probabilities of the next piece: marks other than END cannot come."""

    def __init__(self, model: Seq2Seq, steps: Steps) -> None:
        self.steps = steps
        self.never = torch.arange(model.vocabulary, device=model.device)
        self.never = (self.never < model.words.first) & (self.never != EOS)

    def __call__(self, token: Tensor, t: int, rows: Int64[Tensor, " n"] | None) -> Tensor:
        if rows is not None:
            self.steps.take(rows)
        return self.steps(token, t).masked_fill(self.never, -math.inf).log_softmax(-1)


class Captioning(_Wording):
    """An image to words."""

    @torch.inference_mode()
    def caption(
        self,
        images: Images,
        *,
        language: str | None = None,
        beams: int = 4,
        count: int = 1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        length_penalty: float = 0.6,
    ) -> list[list[ScoredText]]:
        """For each image `count` texts, the best first, in a language (the first unless given).

        By beam search; with a `temperature` by chance of (seed, i), the likeliest first.
        """
        language = language or preferred(self.words.languages)
        mark, made = self.words.language_token(language), []
        pixels = pixels_for(self.info, images)
        for at in range(0, len(pixels), AT_ONCE):
            rows = (torch.arange(AT_ONCE) + at).clamp(max=len(pixels) - 1)
            read = self.read(None, pixels[rows].to(self.device))
            if temperature is None:
                texts = self._searched(read, mark, beams, count, length_penalty)
            else:
                chances = SamplingParams(temperature, top_k, top_p)
                texts = self._drawn(read, mark, count, chances, seed, at)
            made += texts[: len(pixels) - at]
        return made

    @torch.inference_mode()
    def caption_log_prob_matrix(
        self, images: Images, texts: Sequence[str], language: str
    ) -> Float32[np.ndarray, "images texts"]:
        """log p(text given image), in nats, of every text for every image."""
        pixels = pixels_for(self.info, images)
        tokens = self.tokens_of(list(texts), [language] * len(texts), cut=True)
        rows = []
        for image in pixels:
            one = self.read(None, image[None].to(self.device))
            read = Read(one.hidden.expand(len(texts), -1, -1), one.seen.expand(len(texts), -1))
            rows.append(self._log_p(read, tokens).cpu())
        return torch.stack(rows).numpy()

    @torch.inference_mode()
    def caption_log_prob(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]:
        """log p(text given image), in nats, of each image and its own text."""
        pixels = pixels_for(self.info, images)
        tokens = padded(self.tokens_of(list(texts), languages, cut=True), self.length)

        def each(some: Tensor, told: Tokens) -> Tensor:
            return self._log_p(self.read(None, some.to(self.device)), told).cpu()

        return map_in_fixed_batches(each, pixels, tokens, size=AT_ONCE)[0].numpy()

    def _log_p(self, read: Read, tokens: Tokens) -> Float32[Tensor, " n"]:
        due = tokens[:, 1:]
        log_p = self.logits(read, tokens[:, :-1]).float().log_softmax(-1)
        each = log_p.gather(-1, due[..., None])[..., 0]
        return each.masked_fill(due == PAD, 0).sum(1)

    def _drawn(
        self, read: Read, mark: int, count: int, chances: SamplingParams, seed: int, at: int
    ) -> list[list[ScoredText]]:
        n = len(read.hidden)
        columns = []
        for k in range(count):
            chance = per_image_uniform(n, self.length - 1, seed + 1_000_003 * k, at)[:, 0].to(
                self.device
            )
            start = torch.full((n,), mark, device=self.device)
            columns.append(by_chance(self._step(read), start, chance, chances))
        return [
            sorted((self._worded(one) for one in row), key=lambda said: -said.log_prob)
            for row in zip(*columns, strict=True)
        ]


class Translating(_Wording):
    """Words to words."""

    @torch.inference_mode()
    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        beams: int = 4,
        length_penalty: float = 0.6,
    ) -> list[ScoredText]:
        """Each text in another language, the best found by beam search."""
        if not all(text.strip() for text in texts):
            raise UsageError("a text is empty: there is nothing to translate.")
        mark, made = self.words.language_token(target), []
        tokens = self.tokens_of([text.strip() for text in texts], [source] * len(texts))
        tokens = padded(tokens, self.length)
        for at in range(0, len(tokens), AT_ONCE):
            rows = (torch.arange(AT_ONCE) + at).clamp(max=len(tokens) - 1)
            found = self._searched(self.read(tokens[rows], None), mark, beams, 1, length_penalty)
            made += [row[0] for row in found[: len(tokens) - at]]
        return made


def preferred(languages: Sequence[str]) -> str:
    """English where it is there, else the first."""
    return "en" if "en" in languages else languages[0]
