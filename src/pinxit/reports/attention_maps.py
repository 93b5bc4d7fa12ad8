"""Cross-attention maps."""

from __future__ import annotations

import numpy as np

from pinxit.data.captions import captions_round_robin
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.models.protocols import CanCaption, CanDraw
from pinxit.reports.context import Material
from pinxit.reports.images import ERROR_COLOUR, Image
from pinxit.reports.sections import Section
from pinxit.reports.text_and_images import _wall

WORDS = 16  # of which it is drawn where they look


def attended(material: Material) -> Section | None:
    """Where each word looks in the image, or each place of the image among the words."""
    if material.seen is None or not (material.can("caption") or material.can("draw")):
        return None
    rows, texts = captions_round_robin(material.seen, material.model.text_tokenizer.languages)
    if len(rows) == 0:
        return None
    first = material.seen.take(rows[evenly_spaced_indices(len(rows), 3)])
    shown = [texts[i] for i in evenly_spaced_indices(len(rows), 3)]
    figures = [_maps(material.model, first[i], shown[i]) for i in range(len(first))]
    return Section(
        "attended", "What looks at what", {"figures": figures, "draws": material.can("draw")}
    )


def _maps(model: CanCaption | CanDraw, image: Images, text: str) -> list[tuple[str, Image]]:
    """For each token of the caption, the image lit up by its cross-attention."""
    language = model.text_tokenizer.detect_language(text)
    tokens = model.token_attention(image, [text], language)[0][:WORDS]
    return [(t.token, _lit(image, t.weights, f"Cross-attention of '{t.token}'")) for t in tokens]


def _lit(image: Images, weights: np.ndarray, alt: str) -> Image:
    """The image, the more in one colour the larger the weights are."""
    strength = weights / max(float(weights.max()), 1e-9)
    h, w = image.height // strength.shape[0], image.width // strength.shape[1]
    alpha = 0.75 * strength.repeat(h, 0).repeat(w, 1)[..., None]
    shown = image.pixels[0].repeat(3, -1) if image.channels == 1 else image.pixels[0]
    mixed = shown * (1 - alpha) + np.array(ERROR_COLOUR) * alpha
    return _wall(Images(mixed.round().astype(np.uint8)[None]), alt)
