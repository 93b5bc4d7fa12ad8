"""What a flow of captioned images can do besides: draw, and edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from pinxit.data.images import Images
from pinxit.models.caption_batch import CaptionBatch
from pinxit.models.drawing import Drawing, Editing, candidate_seeds, token_maps
from pinxit.models.flow.conditions import CaptionReader, example_uniforms
from pinxit.models.flow.guidance import default_guidance
from pinxit.models.flow.model import DRAW_BATCH, SAMPLED
from pinxit.models.flow.morphing import MorphingFlow
from pinxit.models.flow.network import Condition
from pinxit.models.flow.path import interpolate
from pinxit.models.flow.tasks import Rows, Task
from pinxit.models.generation import GenerationParams, Reranker, resolve_params
from pinxit.models.inputs import check_images, rerank_languages
from pinxit.models.latent_codecs import Latents, Pixels
from pinxit.models.results import TokenAttention
from pinxit.nn.rng import per_image_normal

if TYPE_CHECKING:
    from pinxit.data.text_tokenizer import TextTokenizer

DEFAULT_STRENGTH = 0.6
SCORE_TIMES = (0.1, 0.3, 0.5, 0.7)  # at which a caption's help is measured


class TextFlow(MorphingFlow, Drawing, Editing):
    """A flow that is conditioned on captions."""

    draw_options = (*SAMPLED, "best_of", "reranker")
    edit_options = (*SAMPLED, "strength")

    @property
    def default_guidance(self) -> float:
        """The guidance of images from text if none is given."""
        return default_guidance(self.config)

    @property
    def reader(self) -> CaptionReader:
        assert self.conditions.captions is not None, "a model of captions"
        return self.conditions.captions

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer of the training captions."""
        return self.reader.text.tokenizer

    @property
    def max_text_tokens(self) -> int:
        """The most tokens that a text may have."""
        return self.reader.text.max_text_tokens

    def captions_of_samples(self, n: int, params: GenerationParams) -> list[tuple[str, str]]:
        """Return the caption and its language of each image of `sample`; [] if it has none."""
        resolved = resolve_params(params, {}, SAMPLED, guidance=default_guidance(self.config))
        if resolved.guidance == 0:
            return []
        chosen = self.conditions.choose_examples(example_uniforms(n, resolved))
        return [(text, language) for text, language in chosen]

    def truncate_text(self, text: str) -> str:
        """Cut a text to at most `max_text_tokens` tokens."""
        return self.reader.text.truncate(text)

    def check_texts(self, texts: Sequence[str], language: str | None) -> CaptionBatch:
        """Return texts and their languages, as `TextEmbedding.check` does."""
        return self.reader.text.check(texts, language)

    def _draw(
        self, captions: CaptionBatch, params: GenerationParams, *, progress: bool
    ) -> Iterator[Images]:
        """Yield the first candidate of each image as it becomes clear, then the best one."""
        self.check_solver(params)
        return self._draw_candidates(captions, params, progress)

    @torch.inference_mode()
    def _draw_candidates(
        self, captions: CaptionBatch, params: GenerationParams, progress: bool
    ) -> Iterator[Images]:
        n = len(captions.texts)
        condition_of = self.conditions.of_text_rows(captions, self.network)
        candidates, scores = [], []
        for k, seeds in enumerate(candidate_seeds(params, n)):
            assert params.temperature is not None, "resolved"
            noise = params.temperature * per_image_normal(n, self.codec.shape, seeds)
            images = None
            shown = progress and k == 0
            for images in self.generate(noise, condition_of, params, progress=shown):
                if k == 0:
                    yield images
            assert images is not None, "a text at least"
            candidates.append(images.pixels)
            if params.best_of > 1:
                scores.append(self._score(images, captions, params.reranker))
        if params.best_of > 1:
            best = np.stack(scores).argmax(0)
            yield Images(np.stack(candidates)[best, np.arange(n)])

    def _score(
        self, images: Images, captions: CaptionBatch, reranker: Reranker | None
    ) -> Float32[np.ndarray, " n"]:
        """log p(caption | image) by the reranker, or how much the caption helps to denoise it."""
        if reranker is None:
            return self._denoising_gain(images, captions)
        texts = [text or "" for text in captions.texts]
        languages = rerank_languages(reranker, captions.languages)
        return reranker.caption_log_prob(images, texts, languages)

    @torch.no_grad()
    def _denoising_gain(self, images: Images, captions: CaptionBatch) -> Float32[np.ndarray, " n"]:
        """Return by how much the caption lowers the loss of each image, at fixed times and noise.

        (Li 2023, "Your diffusion model is secretly a zero-shot classifier".)
        """
        condition_of = self.conditions.of_text_rows(captions, self.network)
        latents = self.mean_latents(check_images(self.info, images))
        noise = per_image_normal(len(SCORE_TIMES), self.codec.shape, 0).to(self.device)
        gains = np.zeros(len(images), np.float32)
        for start in range(0, len(images), DRAW_BATCH):
            rows = (torch.arange(DRAW_BATCH) + start).clamp(max=len(images) - 1)
            data = latents[rows].to(self.device)
            conditions = (self.conditions.of_nothing(len(rows), self.network), condition_of(rows))
            gain = torch.zeros(len(rows), device=self.device)
            for time, e in zip(SCORE_TIMES, noise, strict=True):
                t = torch.full((len(rows),), time, device=self.device)
                x_t = interpolate(e.expand_as(data), data, t)
                without, given = (
                    (self.velocity(x_t, t, c) - (data - e)).square().flatten(1).sum(1)
                    for c in conditions
                )
                gain += without - given
            gains[start : start + DRAW_BATCH] = gain[: len(images) - start].cpu().numpy()
        return gains

    @torch.inference_mode()
    def token_attention(
        self, images: Images, texts: Sequence[str], language: str
    ) -> list[list[TokenAttention]]:
        """Return how much each position of the latents attends to each token, half denoised."""
        latents = self.mean_latents(check_images(self.info, images)).to(self.device)
        noise = per_image_normal(len(images), self.codec.shape, 0).to(self.device)
        t = torch.full((1,), 0.5, device=self.device)
        return [
            self._attention_of_one(interpolate(e[None], z[None], t), t, text, language)
            for z, e, text in zip(latents, noise, texts, strict=True)
        ]

    def _attention_of_one(
        self, x_t: Latents, t: Tensor, text: str, language: str
    ) -> list[TokenAttention]:
        tokens = self.reader.text.tokenize([text], [language], truncate=True)
        maps = self.network.attend_to_words(x_t, t, self.reader(tokens, self.network))[0]
        return token_maps(tokens[0].tolist(), maps, self.text_tokenizer, self.codec.shape[1:])

    def _edit(
        self,
        pixels: Pixels,
        instructions: CaptionBatch,
        params: GenerationParams,
        *,
        progress: bool,
    ) -> Iterator[Images]:
        """Yield the images; with `progress` after each step.

        A model of pairs generates the edited image given the one before (Brooks 2022); with a
        `strength` it starts from that. Others do only the latter (SDEdit, Meng 2021).
        """
        self.check_solver(params)
        condition_of = self.conditions.of_text_rows(instructions, self.network)
        known = self.mean_latents(pixels)
        noise, strength = self.noise(len(pixels), params), params.strength
        if not self.network.with_source:
            task = Task(known, strength=DEFAULT_STRENGTH if strength is None else strength)
            task.check_solver(params)
            return self._generate_edits(noise, condition_of, params, task, progress)

        def condition_with_source(rows: Rows) -> Condition:
            return condition_of(rows)._replace(source=known[rows].to(self.device))

        task = Task() if strength is None else Task(known, strength=strength)
        task.check_solver(params)
        return self._generate_edits(noise, condition_with_source, params, task, progress)

    @torch.inference_mode()
    def _generate_edits(
        self,
        noise: Latents,
        condition_of: Callable[[Rows], Condition],
        params: GenerationParams,
        task: Task | None,
        progress: bool,
    ) -> Iterator[Images]:
        yield from self.generate(noise, condition_of, params, task, progress=progress)
