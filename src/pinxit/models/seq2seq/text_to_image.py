"""Drawing and editing: image codes decoded token by token, with guidance and reranking."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Unpack, cast

import torch
from jaxtyping import Float32
from torch import Tensor

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.data.text_tokenizer import EOS
from pinxit.errors import UsageError
from pinxit.models.inputs import pixels_for
from pinxit.models.protocols import CanCaption, Painting
from pinxit.models.seq2seq.caption_batch import Said
from pinxit.models.seq2seq.generate import AT_ONCE, Painted, best_of, padded
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import Read, Tokens
from pinxit.nn.rng import Seed, mix_seed, per_image_seeds, per_image_uniform
from pinxit.nn.token_sampling import SamplingParams


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
        judge: CanCaption | None = None,
    ) -> Iterator[Images]:
        """What cannot be is refused here, before the first image is asked for."""
        chances = SamplingParams(temperature, top_k, top_p)
        if not 0 <= guidance < math.inf:
            raise UsageError(f"guidance is 0 or more, not {guidance}.")
        if tries < 1:
            raise UsageError(f"tries are 1 or more, not {tries}.")
        if not texts:
            raise UsageError("there is nothing to draw: no words are given.")
        if judge is not None:
            refuse_judge(judge, self.info, tries)
        pixels = None if before is None else pixels_for(self.info, before)
        said = self._said(texts, language)
        seeds = per_image_seeds(seed, len(texts), start)
        several = [seeds, *([mix_seed(one, k) for one in seeds] for k in range(1, tries))]
        chance = torch.stack(
            [per_image_uniform(len(texts), self.steps, each)[:, 0] for each in several]
        )
        return self._painted(pixels, said, chance, chances, guidance, judge)

    @torch.inference_mode()
    def _painted(
        self,
        pixels: Tensor | None,
        said: Said,
        chance: Float32[Tensor, "tries n codes"],
        chances: SamplingParams,
        guidance: float,
        judge: CanCaption | None,
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
        self, judge: CanCaption, said: Said, rows: Sequence[int], made: Painted
    ) -> Float32[Tensor, " n"]:
        """How likely the judge would say of each image what was asked for."""
        assert self.codes is not None
        images = Images(self.codes.images_of(made.codes).cpu().numpy())
        texts, languages = ([all_of[i] or "" for i in rows] for all_of in said)
        return torch.from_numpy(judge.caption_log_prob(images, texts, languages)).to(
            made.codes.device
        )

    def _said(self, texts: Sequence[str], language: str | None) -> Said:
        """Texts and their languages. Raises UsageError for an empty one, one that is too long or a
        language unknown."""
        said = [text.strip() for text in texts]
        if not all(said):
            raise UsageError("a text is empty: say what the image is to show.")
        languages = [language or self.words.detect_language(text) for text in said]
        self.tokens_of(said, languages)
        return Said(list(said), languages)

    def _read(self, words: Tokens, pixels: Tensor | None, guidance: float) -> Read:
        if guidance != 1:
            none = padded(torch.full((len(words), 1), EOS, device=self.device), self.length)
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
        *_, last = self.draw_stream(captions, **how)
        return last

    def draw_stream(self, captions: Sequence[str], **how: Unpack[Painting]) -> Iterator[Images]:
        """The same as they grow, row by row of codes; grey where nothing is painted yet."""
        return self._growing(None, captions, **how)


class Editing(_Painting):
    """An image and words to an image."""

    def edit(self, images: Images, instructions: Sequence[str], **how: Unpack[Painting]) -> Images:
        """Each image changed as its instruction says; `how` as `Painting` says.

        Raises UsageError as `draw` does, and where not each image has its instruction.
        """
        *_, last = self.edit_stream(images, instructions, **how)
        return last

    def edit_stream(
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


def refuse_judge(judge: CanCaption, info: DatasetInfo, tries: int) -> None:
    """Raises UsageError for what is no judge of such images, or has nothing to choose from."""
    if not isinstance(judge, CanCaption):
        raise UsageError("a judge is a model that captions: seq2seq with --source image.")
    own, seen = ((one.height, one.width, one.channels) for one in (info, cast(Any, judge).info))
    if own != seen:
        raise UsageError(
            f"the judge sees images of {'x'.join(map(str, seen))} (height, width, channels), "
            f"these are {'x'.join(map(str, own))}."
        )
    if tries < 2:
        raise UsageError("a judge chooses among several: give tries, 2 or more.")
