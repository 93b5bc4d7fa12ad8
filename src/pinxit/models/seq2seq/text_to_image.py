"""Drawing and editing: image codes decoded token by token, with guidance and reranking.

Image i is a function of (seed, start + i), its text and, of an edit, its source image: sources are
decoded in batches of one size, and texts are padded to one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.data.text_tokenizer import EOS
from pinxit.errors import UsageError
from pinxit.models.generation import GUIDED, GenerationParams, Reranker, resolve_params
from pinxit.models.inputs import check_images
from pinxit.models.protocols import CanCaption
from pinxit.models.results import TokenAttention
from pinxit.models.seq2seq.caption_batch import Said
from pinxit.models.seq2seq.generate import AT_ONCE, Painted, best_of, padded
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import Read, Tokens
from pinxit.nn.rng import mix_seed, per_image_seeds, per_image_uniform
from pinxit.nn.token_sampling import SamplingParams


class _ImageDecoder(Seq2Seq):
    """What drawing and editing share."""

    @property
    def num_progress_steps(self) -> int:
        """How often a stream yields: once for each row of codes."""
        assert self.codes is not None
        return self.codes.grid[0]

    def _stream(
        self,
        source_images: Images | None,
        texts: Sequence[str],
        language: str | None,
        params: GenerationParams,
    ) -> Iterator[Images]:
        """Checks everything before the first image is asked for."""
        if not texts:
            raise UsageError("no text: there is nothing to draw.")
        if params.reranker is not None:
            check_reranker(params.reranker, self.info)
        pixels = None if source_images is None else check_images(self.info, source_images)
        captions = self._captions(texts, language)
        seeds = per_image_seeds(params.seed, len(texts), params.start)
        candidates = [seeds, *([mix_seed(s, k) for s in seeds] for k in range(1, params.best_of))]
        uniforms = [per_image_uniform(len(texts), self.steps, each)[:, 0] for each in candidates]
        return self._generate(pixels, captions, torch.stack(uniforms), params)

    @torch.inference_mode()
    def _generate(
        self,
        pixels: Tensor | None,
        captions: Said,
        uniforms: Float32[Tensor, "candidates n codes"],
        params: GenerationParams,
    ) -> Iterator[Images]:
        """Yields the first candidate row by row, then the best candidate of each image."""
        assert self.codes is not None
        n = len(captions.texts)
        text_tokens = padded(self.tokens_of(captions.texts, captions.languages), self.length)
        codes = torch.full((n, self.steps), -1)
        for start in range(0, n, AT_ONCE):
            rows = (torch.arange(AT_ONCE) + start).clamp(max=n - 1)
            source_pixels = None if pixels is None else pixels[rows].to(self.device)
            source = self._encode_source(text_tokens[rows], source_pixels, params.guidance)
            scorer = None
            if params.reranker is not None:
                scorer = partial(self._rerank, params.reranker, captions, rows.tolist())
            u = uniforms[:, rows].to(self.device)
            sampling = SamplingParams.of(params)
            for generated in best_of(self, source, u, sampling, params.guidance, scorer):
                codes[start : start + AT_ONCE] = generated.codes[: n - start].cpu()
                yield Images(self.codes.decode(codes.to(self.device)).cpu().numpy())

    def _rerank(
        self, reranker: Reranker, captions: Said, rows: Sequence[int], generated: Painted
    ) -> Float32[Tensor, " n"]:
        """log p(caption | image) of each generated image, by the reranker."""
        assert self.codes is not None
        images = Images(self.codes.decode(generated.codes).cpu().numpy())
        texts, languages = ([column[i] or "" for i in rows] for column in captions)
        scores = reranker.caption_log_prob(images, texts, languages)
        return torch.from_numpy(scores).to(generated.codes.device)

    def _captions(self, texts: Sequence[str], language: str | None) -> Said:
        """Raises UsageError for an empty text, one that is too long, or an unknown language."""
        stripped = [text.strip() for text in texts]
        if not all(stripped):
            raise UsageError("a text is empty.")
        languages = [language or self.text_tokenizer.detect_language(text) for text in stripped]
        self.tokens_of(stripped, languages)
        return Said(list(stripped), languages)

    def _encode_source(self, text_tokens: Tokens, pixels: Tensor | None, guidance: float) -> Read:
        """The encoded source; with guidance, the same sources without text follow in the batch."""
        if guidance != 1:
            empty = torch.full((len(text_tokens), 1), EOS, device=self.device)
            text_tokens = torch.cat((text_tokens, padded(empty, self.length)))
            pixels = None if pixels is None else pixels.repeat(2, 1, 1, 1)
        return self.read(text_tokens, pixels)


class TextToImage(_ImageDecoder):
    """A caption to an image."""

    def draw(
        self,
        captions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Images:
        """An image for each caption, code by code. `language` None: detected from each caption.

        Raises UsageError for a caption that is empty or too long, for a language that the model
        has not seen, and for generation parameters out of range.
        """
        *_, last = self.draw_stream(captions, params, language=language, **options)
        return last

    def draw_stream(
        self,
        captions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """The same images after each row of codes; grey where nothing is generated yet."""
        return self._stream(None, captions, language, resolve_params(params, options, DRAW))

    @torch.inference_mode()
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]:
        """For each image and its caption: how much each image cell attends to each token."""
        assert self.codes is not None
        codes = self.codes.encode(check_images(self.info, images).to(self.device))
        attention = []
        for one_image, text in zip(codes, texts, strict=True):
            tokens = self.tokens_of([text], [language], cut=True)
            maps = self.looking(self.read(tokens, None), one_image[None, :-1])[0].cpu().numpy()
            names = [self.text_tokenizer.decode([i]) for i in tokens[0].tolist()]
            pairs = zip(names, maps.T, strict=True)
            attention.append(
                [
                    TokenAttention(name, cells.reshape(self.codes.grid))
                    for name, cells in pairs
                    if name
                ]
            )
        return attention


class ImageEditing(_ImageDecoder):
    """An image and an instruction to an image."""

    def edit(
        self,
        images: Images,
        instructions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Images:
        """Each image changed as its instruction says; temperature 0 by default.

        Raises UsageError as `draw` does, and where images and instructions differ in number.
        """
        *_, last = self.edit_stream(images, instructions, params, language=language, **options)
        return last

    def edit_stream(
        self,
        images: Images,
        instructions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """The same images after each row of codes."""
        if len(images) != len(instructions):
            raise UsageError(f"{len(images)} images and {len(instructions)} instructions.")
        chosen = resolve_params(params, options, GUIDED, temperature=0.0)
        return self._stream(images, instructions, language, chosen)


DRAW = (*GUIDED, "reranker")  # an instruction is no caption: edits cannot be reranked


def check_reranker(reranker: Reranker, info: DatasetInfo) -> None:
    """Raises UsageError where a model cannot caption, or captions images of another shape."""
    if not isinstance(reranker, CanCaption):
        raise UsageError(
            "a reranker is a captioning model: train one with --source image --target text."
        )
    own, other = ((d.height, d.width, d.channels) for d in (info, reranker.info))
    if own != other:
        raise UsageError(
            f"the reranker takes images of {'x'.join(map(str, other))} (height, width, channels), "
            f"not {'x'.join(map(str, own))}."
        )
