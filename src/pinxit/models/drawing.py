"""What models that generate images from texts share: checked inputs, candidates, attention maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import Float, UInt8
from torch import Tensor

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.caption_batch import CaptionBatch
from pinxit.models.generation import GenerationParams, resolve_params
from pinxit.models.inputs import check_guidance, check_images, check_reranker, rerank_languages
from pinxit.models.results import TokenAttention
from pinxit.nn.rng import mix_seed, per_image_seeds

if TYPE_CHECKING:
    from pinxit.data.text_tokenizer import TextTokenizer


class _TextInput:
    """A model that generates images from texts. It comes after the model among the base classes."""

    info: DatasetInfo
    config: Any  # with `caption_dropout`

    @property
    def default_guidance(self) -> float:
        """The guidance of images from text if none is given."""
        return 1.0

    def _check_guidance(self, params: GenerationParams) -> None:
        check_guidance(params, self.config.caption_dropout)

    def check_texts(self, texts: Sequence[str], language: str | None) -> CaptionBatch:
        """Return texts and their languages, as `TextEmbedding.check` does."""
        raise NotImplementedError


class Drawing(_TextInput):
    """The methods `draw` and `draw_stream`, of a model that has `_draw`."""

    draw_options: ClassVar[tuple[str, ...]]  # generation parameters that `draw` takes

    def draw(
        self,
        captions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Images:
        """Generate an image for each caption. `language` None: detected from each caption.

        Raises UsageError for a caption that is empty or too long, for an unknown language, and for
        generation parameters out of range.
        """
        texts, params = self._check_drawing(captions, params, language, options)
        *_, last = self._draw(texts, params, progress=False)
        return last

    def draw_stream(
        self,
        captions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Iterator[Images]:
        """Yield what the images of `draw` become, after each step or each row of codes."""
        texts, params = self._check_drawing(captions, params, language, options)
        return self._draw(texts, params, progress=True)

    def _check_drawing(
        self,
        captions: Sequence[str],
        params: GenerationParams | None,
        language: str | None,
        options: dict[str, Any],
    ) -> tuple[CaptionBatch, GenerationParams]:
        resolved = resolve_params(
            params, options, self.draw_options, guidance=self.default_guidance
        )
        self._check_guidance(resolved)
        if resolved.reranker is not None:
            check_reranker(resolved.reranker, self.info)
        texts = self.check_texts(captions, language)
        if resolved.reranker is not None:
            rerank_languages(resolved.reranker, texts.languages)  # raises before anything is drawn
        return texts, resolved

    def _draw(
        self, captions: CaptionBatch, params: GenerationParams, *, progress: bool
    ) -> Iterator[Images]:
        """Yield the images; with `progress` also what they become."""
        raise NotImplementedError


class Editing(_TextInput):
    """The methods `edit` and `edit_stream`, of a model that has `_edit`."""

    edit_options: ClassVar[tuple[str, ...]]  # generation parameters that `edit` takes
    edit_temperature: ClassVar[float] = 1.0  # by default

    def edit(
        self,
        images: Images,
        instructions: Sequence[str],
        params: GenerationParams | None = None,
        *,
        language: str | None = None,
        **options: Any,
    ) -> Images:
        """Change each image as its instruction says.

        Raises UsageError as `draw` does, and if images and instructions differ in number.
        """
        pixels, texts, params = self._check_editing(images, instructions, params, language, options)
        *_, last = self._edit(pixels, texts, params, progress=False)
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
        """Yield what the images of `edit` become, after each step or each row of codes."""
        pixels, texts, params = self._check_editing(images, instructions, params, language, options)
        return self._edit(pixels, texts, params, progress=True)

    def _check_editing(
        self,
        images: Images,
        instructions: Sequence[str],
        params: GenerationParams | None,
        language: str | None,
        options: dict[str, Any],
    ) -> tuple[UInt8[Tensor, "n height width channel"], CaptionBatch, GenerationParams]:
        if len(images) != len(instructions):
            raise UsageError(
                f"{len(images)} images and {len(instructions)} instructions; give one each."
            )
        params = resolve_params(
            params, options, self.edit_options, self.edit_temperature, self.default_guidance
        )
        self._check_guidance(params)
        texts = self.check_texts(instructions, language)
        return check_images(self.info, images), texts, params

    def _edit(
        self,
        pixels: UInt8[Tensor, "n height width channel"],
        instructions: CaptionBatch,
        params: GenerationParams,
        *,
        progress: bool,
    ) -> Iterator[Images]:
        """Yield the images; with `progress` also what they become."""
        raise NotImplementedError


def candidate_seeds(params: GenerationParams, n: int) -> Iterator[Sequence[int]]:
    """Yield the seeds of n images for each of `best_of` candidates; the first has their own."""
    seeds = per_image_seeds(params.seed, n, params.start)
    yield seeds
    for k in range(1, params.best_of):
        yield [mix_seed(seed, k) for seed in seeds]


def token_maps(
    tokens: Sequence[int],
    maps: Float[Tensor, "cells tokens"],
    tokenizer: TextTokenizer,
    grid: Sequence[int],
) -> list[TokenAttention]:
    """Return how much each cell of a grid attends to each token; special tokens are left out."""
    names = [tokenizer.decode([token]) for token in tokens]
    pairs = zip(names, maps.float().cpu().numpy().T, strict=True)
    return [TokenAttention(name, cells.reshape(grid)) for name, cells in pairs if name]
