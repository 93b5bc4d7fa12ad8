"""Interfaces of models that show how they decode, step by step.

Checked like those of `pinxit.models.protocols`. Imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pinxit.models.results import CaptionStep, DrawingStep

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float32, Int64

    from pinxit.data.images import Images


@runtime_checkable
class CanTraceCaption(Protocol):
    """Decodes the caption of one image greedily; the last step appends the end, or is the limit."""

    def trace_caption(
        self, image: Images, *, language: str | None = None, num_candidates: int = 5
    ) -> list[CaptionStep]: ...


@runtime_checkable
class CanTraceDrawing(Protocol):
    """Decodes an image as `draw` does; returns up to `num_steps` evenly spaced cells."""

    def trace_drawing(
        self, caption: str, num_steps: int, *, seed: int = 0, num_candidates: int = 5
    ) -> list[DrawingStep]: ...


@runtime_checkable
class HasImageTokens(Protocol):
    """Reads an image as a row of integers below `vocab_size`, in raster order.

    `image_tokens` gives them as a grid; `tokens_to_images` decodes, those below 0 to grey.
    `token_probs` are the probabilities of each token of one image: given those before it if the
    model is `left_to_right`, else given those where `mask`, of the grid, is False.
    """

    left_to_right: bool

    def image_tokens(self, images: Images) -> Int64[np.ndarray, "n rows columns"]: ...
    def tokens_to_images(self, tokens: Int64[np.ndarray, "n rows columns"]) -> Images: ...
    def token_probs(
        self, image: Images, mask: Bool[np.ndarray, "rows columns"]
    ) -> Float32[np.ndarray, "tokens vocab"]: ...
