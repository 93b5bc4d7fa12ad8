"""Drawing and editing: image codes decoded token by token, with guidance and reranking.

Image i is a function of (seed, start + i), its text and, of an edit, its source image: sources are
decoded in batches of one size, and texts are padded to one length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.special_tokens import EOS
from pinxit.models.caption_batch import CaptionBatch, drop_captions, sample_training_texts
from pinxit.models.drawing import Drawing, Editing, candidate_seeds, token_maps
from pinxit.models.generation import GUIDED, GenerationParams, Reranker
from pinxit.models.inputs import check_images, rerank_languages
from pinxit.models.results import DrawingStep, TokenAttention
from pinxit.models.seq2seq.code_embeddings import Codes
from pinxit.models.seq2seq.encoder_decoder import EncoderOutput
from pinxit.models.seq2seq.generate import (
    DECODE_BATCH,
    apply_guidance,
    generate_best_of,
    generate_codes,
)
from pinxit.models.seq2seq.model import Seq2Seq
from pinxit.models.seq2seq.sources import Pixels
from pinxit.models.seq2seq.targets import CodeTarget
from pinxit.models.text_embedding import Tokens, pad_tokens
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams


class _ImageDecoder(Seq2Seq[CodeTarget]):
    """The common part of drawing and editing."""

    @property
    def num_progress_steps(self) -> int:
        """How often a stream yields for up to `DECODE_BATCH` images: once for each row of codes."""
        return self.target.grid[0]

    def encode_images(self, pixels: Pixels) -> Codes:
        """Return the codes of images."""
        return self.target.codec.module.encode(pixels)

    def decode_codes(self, codes: Codes) -> Images:
        """Decode codes to images; codes below 0 are not generated yet and become grey."""
        return Images(self.target.codec.module.decode(codes.to(self.device)).cpu().numpy())

    def _sample_training_text(self, batch: Batch) -> Tokens:
        """Tokens of a text for each image; in training, with keywords, and some are dropped."""
        if not self.training:
            return self.text.tokenize(*self.sample_captions(batch)[0], truncate=True)
        texts, languages = self._sample_texts(batch)
        texts = drop_captions(texts, self.config.caption_dropout)
        return self.text.tokenize(texts, languages, truncate=True)

    def _sample_texts(self, batch: Batch) -> CaptionBatch:
        if not self.config.reads_keywords:
            return self.sample_captions(batch)[0]
        share = self.config.keyword_share
        return sample_training_texts(batch, self.text_tokenizer, self.max_text_tokens, share)

    def check_texts(self, texts: Sequence[str], language: str | None) -> CaptionBatch:
        """Return texts and their languages, as `TextEmbedding.check` does."""
        return self.text.check(texts, language)

    def _uniforms(self, params: GenerationParams, n: int) -> Float32[Tensor, "candidates n codes"]:
        """Return the numbers that the codes of n images are sampled with."""
        candidates, length = candidate_seeds(params, n), self.target.length
        return torch.stack([per_image_uniform(n, length, seeds)[:, 0] for seeds in candidates])

    @torch.inference_mode()
    def _generate(
        self,
        pixels: Tensor | None,
        captions: CaptionBatch,
        params: GenerationParams,
        progress: bool,
    ) -> Iterator[Images]:
        """Yield the best candidates; with `progress`, before that the first ones row by row."""
        n, guidance = len(captions.texts), params.guidance
        uniforms = self._uniforms(params, n).to(self.device)
        assert guidance is not None, "resolved"
        text_tokens = pad_tokens(self.text.tokenize(*captions), self.text.max_len)
        codes = torch.full((n, self.target.length), -1)
        for start in range(0, n, DECODE_BATCH):
            rows = (torch.arange(DECODE_BATCH) + start).clamp(max=n - 1)
            source_pixels = None if pixels is None else pixels[rows].to(self.device)
            encoded = self.encode_with_guidance(text_tokens[rows], source_pixels, guidance)
            own = slice(start, min(start + DECODE_BATCH, n))
            scorer = None
            if params.reranker is not None:
                scorer = partial(self._rerank, params.reranker, captions.select(own))
            u, sampling = uniforms[:, own], SamplingParams.from_options(params)
            stream = generate_best_of(self, encoded, u, sampling, guidance, scorer)
            for generated in stream if progress else deque(stream, maxlen=1):
                codes[own] = generated.cpu()
                if progress:
                    yield self.decode_codes(codes)
        if not progress:
            yield self.decode_codes(codes)

    def _rerank(
        self, reranker: Reranker, captions: CaptionBatch, codes: Codes, sources: Int64[Tensor, " n"]
    ) -> Float32[Tensor, " n"]:
        """log p(caption | image) of each image, by the reranker; `sources`: of which caption."""
        rows = sources.tolist()
        texts, languages = ([column[i] or "" for i in rows] for column in captions)
        languages = rerank_languages(reranker, languages)
        scores = reranker.caption_log_prob(self.decode_codes(codes), texts, languages)
        return torch.from_numpy(scores).to(codes.device)

    def encode_with_guidance(
        self, text_tokens: Tokens, pixels: Pixels | None, guidance: float
    ) -> EncoderOutput:
        """Encode the source; unless guidance is 1, append the same rows without text."""
        if guidance != 1:
            no_text = torch.full((len(text_tokens), 1), EOS, device=self.device)
            text_tokens = torch.cat((text_tokens, pad_tokens(no_text, self.text.max_len)))
            pixels = None if pixels is None else pixels.repeat(2, 1, 1, 1)
        return self.encode_source([text_tokens] if pixels is None else [text_tokens, pixels])


class TextToImage(_ImageDecoder, Drawing):
    """A caption to an image."""

    draw_options = (*GUIDED, "reranker")

    def source_and_target(self, batch: Batch) -> tuple[Sequence[Tensor], Codes]:
        return [self._sample_training_text(batch)], self.encode_images(batch.pixels)

    def _draw(
        self, captions: CaptionBatch, params: GenerationParams, *, progress: bool
    ) -> Iterator[Images]:
        """Yield the images; with `progress` after each row of codes, grey where none is yet."""
        return self._generate(None, captions, params, progress)

    @torch.inference_mode()
    def trace_drawing(
        self, caption: str, num_steps: int, *, seed: int = 0, num_candidates: int = 5
    ) -> list[DrawingStep]:
        """Generate the image of a caption, and return up to `num_steps` evenly spaced steps.

        The probabilities are those that a code is sampled with. Raises UsageError as `draw` does.
        """
        captions, params = self._check_drawing([caption], None, None, {"seed": seed})
        guidance = params.guidance or 1.0
        tokens = self.text.tokenize(*captions)
        encoded = self.encode_with_guidance(tokens, None, guidance)
        u, sampling = self._uniforms(params, 1)[0].to(self.device), SamplingParams()
        *_, generated = generate_codes(self, encoded, u, sampling, guidance, with_log_prob=False)
        codes = generated.codes
        prefix = codes[:, :-1].repeat(1 if guidance == 1 else 2, 1)
        logits = apply_guidance(self.logits(encoded, prefix).float().flatten(1), 1, guidance)
        probs = logits.unflatten(1, (self.target.length, -1))[0].softmax(-1)
        maps = self.cross_attention_map(self.encode_source([tokens]), codes[:, :-1])[0]
        names = [self.text_tokenizer.decode([token]) for token in tokens[0].tolist()]
        return [
            self._trace_cell(
                t, codes, probs[t], list(zip(names, maps[t].tolist(), strict=True)), num_candidates
            )
            for t in evenly_spaced_indices(self.target.length, num_steps).tolist()
        ]

    def _trace_cell(
        self,
        t: int,
        codes: Codes,
        probs: Float32[Tensor, " codes"],
        attention: list[tuple[str, float]],
        num_candidates: int,
    ) -> DrawingStep:
        """Return the step that generates the code at position t."""
        columns = self.target.grid[1]
        row, column = divmod(t, columns)
        best = probs.topk(min(num_candidates, len(probs)))
        shown = torch.cat([best.indices, codes[0, t : t + 1]])
        decoded = self.decode_codes(shown[:, None].expand(-1, self.target.length)).pixels
        h, w = decoded.shape[1] // self.target.grid[0], decoded.shape[2] // columns
        patches = decoded[:, row * h : (row + 1) * h, column * w : (column + 1) * w]
        before = codes.masked_fill(torch.arange(self.target.length, device=codes.device) >= t, -1)
        return DrawingStep(
            (row, column),
            self.decode_codes(before).pixels[0],
            list(zip(patches[:-1], best.values.tolist(), strict=True)),
            patches[-1],
            float(probs[codes[0, t]]),
            [(name, weight) for name, weight in attention if name],
        )

    @torch.inference_mode()
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]:
        """Return how much each image cell attends to each token, for each image and its caption."""
        codes = self.encode_images(check_images(self.info, images).to(self.device))
        return [
            self._attention_of_one(image_codes, text, language)
            for image_codes, text in zip(codes, texts, strict=True)
        ]

    def _attention_of_one(
        self, codes: Int64[Tensor, " codes"], text: str, language: str
    ) -> list[TokenAttention]:
        tokens = self.text.tokenize([text], [language], truncate=True)
        maps = self.cross_attention_map(self.encode_source([tokens]), codes[None, :-1])[0]
        return token_maps(tokens[0].tolist(), maps, self.text_tokenizer, self.target.grid)


class ImageEditing(_ImageDecoder, Editing):
    """An image and an instruction to an image."""

    edit_options = GUIDED  # without a reranker, since an instruction is not a caption
    edit_temperature = 0.0

    def source_and_target(self, batch: Batch) -> tuple[Sequence[Tensor], Codes]:
        assert batch.before is not None, "checked in `prepare`"
        return [self._sample_training_text(batch), batch.before], self.encode_images(batch.pixels)

    def _edit(
        self,
        pixels: Pixels,
        instructions: CaptionBatch,
        params: GenerationParams,
        *,
        progress: bool,
    ) -> Iterator[Images]:
        """Yield the images; with `progress` after each row of codes."""
        return self._generate(pixels, instructions, params, progress)
