"""Cross-attention maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pinxit.data.captions import captions_round_robin
from pinxit.data.images import Images
from pinxit.data.text_tokenizer import EOS
from pinxit.reports.context import Material, even
from pinxit.reports.images import ERROR_COLOUR, Image
from pinxit.reports.sections import Section
from pinxit.reports.text_and_images import _wall

WORDS = 16  # of which it is drawn where they look


def attended(material: Material) -> Section | None:
    """Where each word looks in the image, or each place of the image among the words."""
    if material.seen is None or not (material.can("caption") or material.can("draw")):
        return None
    rows, texts = captions_round_robin(material.seen, material.model.words.languages)
    if len(rows) == 0:
        return None
    first = material.seen.take(rows[even(len(rows), 3)])
    shown = [texts[i] for i in even(len(rows), 3)]
    with torch.inference_mode():
        look = _words_looking if material.can("caption") else _looked_at
        figures = [look(material.model, first[i], shown[i]) for i in range(len(first))]
    return Section(
        "attended", "What looks at what", {"figures": figures, "draws": material.can("draw")}
    )


def _words_looking(model: Any, image: Images, text: str) -> list[tuple[str, Image]]:
    """Each piece of the true caption, and the image where its cross-attention lies."""
    language = model.words.detect_language(text)
    tokens = model.tokens_of([text], [language], cut=True)
    pixels = torch.from_numpy(np.array(image.pixels)).to(model.device)
    weights = model.looking(model.read(None, pixels), tokens[:, :-1])[0].cpu().numpy()
    side = model.config.patch if model.config.read == "patches" else model.config.block
    grid = (image.height // side, image.width // side)
    pieces = [model.words.decode([n]) for n in tokens[0, 1:].tolist() if n != EOS]
    return [
        (piece, _lit(image, weights[t].reshape(grid), f"Where '{piece}' looks"))
        for t, piece in enumerate(pieces[:WORDS])
    ]


def _looked_at(model: Any, image: Images, text: str) -> list[tuple[str, Image]]:
    """The image of the data, and for each piece of its caption the places that look at it."""
    language = model.words.detect_language(text)
    tokens = model.tokens_of([text], [language], cut=True)
    pixels = torch.from_numpy(np.array(image.pixels)).to(model.device)
    codes = model.codes.codes_of(pixels)
    weights = model.looking(model.read(tokens, None), codes[:, :-1])[0].cpu().numpy()
    found = []
    for s, number in enumerate(tokens[0].tolist()[: WORDS + 1]):
        piece = model.words.decode([number])
        if piece:
            lit = _lit(image, weights[:, s].reshape(model.codes.grid), f"What looks at '{piece}'")
            found.append((piece, lit))
    return found


def _lit(image: Images, weights: np.ndarray, alt: str) -> Image:
    """The image, the more in one colour the larger the weights are."""
    strength = weights / max(float(weights.max()), 1e-9)
    h, w = image.height // strength.shape[0], image.width // strength.shape[1]
    alpha = 0.75 * strength.repeat(h, 0).repeat(w, 1)[..., None]
    shown = image.pixels[0].repeat(3, -1) if image.channels == 1 else image.pixels[0]
    mixed = shown * (1 - alpha) + np.array(ERROR_COLOUR) * alpha
    return _wall(Images(mixed.round().astype(np.uint8)[None]), alt)
