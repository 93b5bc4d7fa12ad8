"""The section with cross-attention maps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.models.inputs import captions_within_limit
from pinxit.models.protocols import CanCaption, CanDraw
from pinxit.reports.context import ReportContext
from pinxit.reports.images import ERROR_COLOR, InlineImage
from pinxit.reports.sections import Section, inline_row

NUM_IMAGES = 3
MAX_TOKENS = 16  # maps of one caption
MAX_OPACITY = 0.75  # of the map over the image


def attention(context: ReportContext) -> Section | None:
    """For each token of a few captions, its cross-attention with each part of the image."""
    model = context.model
    if context.subset is None or not isinstance(model, CanCaption | CanDraw):
        return None
    rows, texts = captions_within_limit(model, context.subset)
    if len(rows) == 0:
        return None
    chosen = evenly_spaced_indices(len(rows), NUM_IMAGES).tolist()
    captions = [_draw_token_maps(model, context.subset[int(rows[i])], texts[i]) for i in chosen]
    values = {"captions": captions, "draws": isinstance(model, CanDraw)}
    return Section("attention", "Cross-attention", values)


def _draw_token_maps(
    model: CanCaption | CanDraw, image: Images, text: str
) -> list[tuple[str, InlineImage]]:
    """Each token of the caption with its attention map over the image."""
    language = model.text_tokenizer.detect_language(text)
    tokens = model.token_attention(image, [text], language)[0][:MAX_TOKENS]
    return [
        (t.token, overlay_attention(image, t.weights, f"Attention of '{t.token}'")) for t in tokens
    ]


def overlay_attention(
    image: Images, weights: Float[np.ndarray, "rows columns"], alt: str
) -> InlineImage:
    """Return one image with the attention weights over it, the largest one at `MAX_OPACITY`.

    The positions at the lower and right edges may reach beyond the image.
    """
    opacity = MAX_OPACITY * (weights / max(float(weights.max()), 1e-9))
    h, w = -(-image.height // weights.shape[0]), -(-image.width // weights.shape[1])
    alpha = opacity.repeat(h, 0).repeat(w, 1)[: image.height, : image.width, None]
    rgb = image.pixels[0].repeat(3, -1) if image.channels == 1 else image.pixels[0]
    blended = rgb * (1 - alpha) + np.array(ERROR_COLOR) * alpha
    return inline_row(Images(blended.round().astype(np.uint8)[None]), alt)
