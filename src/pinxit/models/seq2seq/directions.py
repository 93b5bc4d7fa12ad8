"""The four directions: what each can do. Image i is a function of (seed, start + i), its caption
and, of an edit, the image before: chunks are of one size and texts padded to one length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Unpack, cast

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pinxit.data.batch import Facts
from pinxit.data.images import Images
from pinxit.data.words import END, PAD
from pinxit.errors import UsageError
from pinxit.models.blocks import in_chunks, mix, seeds_of
from pinxit.models.chances import Chances, uniforms
from pinxit.models.contract import Captions, Painting, Seed, Worded
from pinxit.models.given import pixels_for
from pinxit.models.seq2seq.model import Read, Said, Seq2Seq, Tokens
from pinxit.models.seq2seq.search import Found, beam_search, by_chance
from pinxit.models.seq2seq.steps import Painted, Steps, best_of

AT_ONCE = 16  # sources together


class _Painting(Seq2Seq):
    """What drawing and editing share."""

    def _growing(
        self,
        before: Images | None,
        texts: Sequence[str],
        *,
        seed: Seed = 0,
        temperature: float = 1.0,
        guidance: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        language: str | None = None,
        start: int = 0,
        tries: int = 1,
        judge: Captions | None = None,
    ) -> Iterator[Images]:
        """What cannot be is refused here, before the first image is asked for."""
        chances = Chances(temperature, top_k, top_p)
        if not 0 <= guidance < math.inf:
            raise UsageError(f"guidance is 0 or more, not {guidance}.")
        if tries < 1:
            raise UsageError(f"tries are 1 or more, not {tries}.")
        if not texts:
            raise UsageError("there is nothing to draw: no words are given.")
        if judge is not None:
            refuse_judge(judge, self.facts, tries)
        pixels = None if before is None else pixels_for(self.facts, before)
        said = self._said(texts, language)
        seeds = seeds_of(seed, len(texts), start)
        several = [seeds, *([mix(one, k) for one in seeds] for k in range(1, tries))]
        chance = torch.stack([uniforms(len(texts), self.steps, each)[:, 0] for each in several])
        return self._painted(pixels, said, chance, chances, guidance, judge)

    @torch.inference_mode()
    def _painted(
        self,
        pixels: Tensor | None,
        said: Said,
        chance: Float32[Tensor, "tries n codes"],
        chances: Chances,
        guidance: float,
        judge: Captions | None,
    ) -> Iterator[Images]:
        """Of several tries the best; the first is what is seen to grow."""
        assert self.codes is not None
        n = len(said.texts)
        words = padded(self.tokens_of(said.texts, said.languages), self.length)
        codes = torch.full((n, self.steps), -1)
        for at in range(0, n, AT_ONCE):
            rows = (torch.arange(AT_ONCE) + at).clamp(max=n - 1)
            few = None if pixels is None else pixels[rows].to(self.device)
            read = self._read(words[rows], few, guidance)
            several = chance[:, rows].to(self.device)
            rated = None if judge is None else partial(self._judged, judge, said, rows.tolist())
            for made in best_of(self, read, several, chances, guidance, rated):
                codes[at : at + AT_ONCE] = made.codes[: n - at].cpu()
                shown = self.codes.images_of(codes.to(self.device))
                yield Images(shown.cpu().numpy())

    def _judged(
        self, judge: Captions, said: Said, rows: Sequence[int], made: Painted
    ) -> Float32[Tensor, " n"]:
        """How likely the judge would say of each image what was asked for."""
        assert self.codes is not None
        images = Images(self.codes.images_of(made.codes).cpu().numpy())
        texts, languages = ([all_of[i] or "" for i in rows] for all_of in said)
        return torch.from_numpy(judge.fits(images, texts, languages)).to(made.codes.device)

    def _said(self, texts: Sequence[str], language: str | None) -> Said:
        """Texts and their languages. Raises UsageError for an empty one, one that is too long or a
        language unknown."""
        said = [text.strip() for text in texts]
        if not all(said):
            raise UsageError("a text is empty: say what the image is to show.")
        languages = [language or self.words.language_of(text) for text in said]
        self.tokens_of(said, languages)
        return Said(list(said), languages)

    def _read(self, words: Tokens, pixels: Tensor | None, guidance: float) -> Read:
        if guidance != 1:
            none = padded(torch.full((len(words), 1), END, device=self.device), self.length)
            words = torch.cat((words, none))
            pixels = None if pixels is None else pixels.repeat(2, 1, 1, 1)
        return self.read(words, pixels)


class Drawing(_Painting):
    """Words to an image."""

    def draw(self, captions: Sequence[str], **how: Unpack[Painting]) -> Images:
        """An image of each caption, code by code; `how` as `Painting` says.

        Raises UsageError for words that are empty or too many, for numbers that cannot be and for
        a language that the model has not seen.
        """
        *_, last = self.drawing(captions, **how)
        return last

    def drawing(self, captions: Sequence[str], **how: Unpack[Painting]) -> Iterator[Images]:
        """The same as they grow, row by row of codes; grey where nothing is painted yet."""
        return self._growing(None, captions, **how)


class Editing(_Painting):
    """An image and words to an image."""

    def edit(self, images: Images, instructions: Sequence[str], **how: Unpack[Painting]) -> Images:
        """Each image changed as its instruction says; `how` as `Painting` says.

        Raises UsageError as `draw` does, and where not each image has its instruction.
        """
        *_, last = self.editing(images, instructions, **how)
        return last

    def editing(
        self, images: Images, instructions: Sequence[str], **how: Unpack[Painting]
    ) -> Iterator[Images]:
        """The same as they grow."""
        if len(images) != len(instructions):
            raise UsageError(
                f"there are {len(images)} images and {len(instructions)} instructions."
            )
        if how.get("judge") is not None:
            raise UsageError("an instruction is no caption: edits have no judge.")
        return self._growing(images, instructions, **how)


class _Wording(Seq2Seq):
    """What captioning and translating share."""

    def _step(self, read: Read) -> _Decoded:
        return _Decoded(self, Steps(self, read))

    def _worded(self, found: Found) -> Worded:
        return Worded(self.words.decode(found.tokens).strip(), found.log_p)

    def _searched(
        self, read: Read, mark: int, beams: int, count: int, penalty: float
    ) -> list[list[Worded]]:
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
        self.never = (self.never < model.words.first) & (self.never != END)

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
    ) -> list[list[Worded]]:
        """For each image `count` texts, the best first, in a language (the first unless given).

        By beam search; with a `temperature` by chance of (seed, i), the likeliest first.
        """
        language = language or preferred(self.words.languages)
        mark, made = self.words.mark(language), []
        pixels = pixels_for(self.facts, images)
        for at in range(0, len(pixels), AT_ONCE):
            rows = (torch.arange(AT_ONCE) + at).clamp(max=len(pixels) - 1)
            read = self.read(None, pixels[rows].to(self.device))
            if temperature is None:
                texts = self._searched(read, mark, beams, count, length_penalty)
            else:
                chances = Chances(temperature, top_k, top_p)
                texts = self._drawn(read, mark, count, chances, seed, at)
            made += texts[: len(pixels) - at]
        return made

    @torch.inference_mode()
    def rated(
        self, images: Images, texts: Sequence[str], language: str
    ) -> Float32[np.ndarray, "images texts"]:
        """log p(text given image), in nats, of every text for every image."""
        pixels = pixels_for(self.facts, images)
        tokens = self.tokens_of(list(texts), [language] * len(texts), cut=True)
        rows = []
        for image in pixels:
            one = self.read(None, image[None].to(self.device))
            read = Read(one.hidden.expand(len(texts), -1, -1), one.seen.expand(len(texts), -1))
            rows.append(self._log_p(read, tokens).cpu())
        return torch.stack(rows).numpy()

    @torch.inference_mode()
    def fits(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]:
        """log p(text given image), in nats, of each image and its own text."""
        pixels = pixels_for(self.facts, images)
        tokens = padded(self.tokens_of(list(texts), languages, cut=True), self.length)

        def each(some: Tensor, told: Tokens) -> Tensor:
            return self._log_p(self.read(None, some.to(self.device)), told).cpu()

        return in_chunks(each, pixels, tokens, size=AT_ONCE)[0].numpy()

    def _log_p(self, read: Read, tokens: Tokens) -> Float32[Tensor, " n"]:
        due = tokens[:, 1:]
        log_p = self.logits(read, tokens[:, :-1]).float().log_softmax(-1)
        each = log_p.gather(-1, due[..., None])[..., 0]
        return each.masked_fill(due == PAD, 0).sum(1)

    def _drawn(
        self, read: Read, mark: int, count: int, chances: Chances, seed: int, at: int
    ) -> list[list[Worded]]:
        n = len(read.hidden)
        columns = []
        for k in range(count):
            chance = uniforms(n, self.length - 1, seed + 1_000_003 * k, at)[:, 0].to(self.device)
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
    ) -> list[Worded]:
        """Each text in another language, the best found by beam search."""
        if not all(text.strip() for text in texts):
            raise UsageError("a text is empty: there is nothing to translate.")
        mark, made = self.words.mark(target), []
        tokens = self.tokens_of([text.strip() for text in texts], [source] * len(texts))
        tokens = padded(tokens, self.length)
        for at in range(0, len(tokens), AT_ONCE):
            rows = (torch.arange(AT_ONCE) + at).clamp(max=len(tokens) - 1)
            found = self._searched(self.read(tokens[rows], None), mark, beams, 1, length_penalty)
            made += [row[0] for row in found[: len(tokens) - at]]
        return made


def refuse_judge(judge: Captions, facts: Facts, tries: int) -> None:
    """Raises UsageError for what is no judge of such images, or has nothing to choose from."""
    if not isinstance(judge, Captions):
        raise UsageError("a judge is a model that captions: seq2seq with --source image.")
    own, seen = ((one.height, one.width, one.channels) for one in (facts, cast(Any, judge).facts))
    if own != seen:
        raise UsageError(
            f"the judge sees images of {'x'.join(map(str, seen))} (height, width, channels), "
            f"these are {'x'.join(map(str, own))}."
        )
    if tries < 2:
        raise UsageError("a judge chooses among several: give tries, 2 or more.")


def preferred(languages: Sequence[str]) -> str:
    """English where it is there, else the first."""
    return "en" if "en" in languages else languages[0]


def padded(tokens: Tokens, length: int) -> Tokens:
    """The same with PAD up to a length."""
    return torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=PAD)


CLASSES = {"draw": Drawing, "caption": Captioning, "edit": Editing, "translate": Translating}
