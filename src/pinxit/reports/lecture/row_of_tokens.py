"""The slide on iGPT: the image as a row of tokens, autoregressive and BERT side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.models.decoding_protocols import HasImageTokens
from pinxit.models.protocols import HasPalette, Model
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import ERROR_COLOR
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.sections import inline_row, inline_shrunk

TITLE = "iGPT: the image as a row of tokens, autoregressive or BERT"
MAX_SHOWN = 16  # tokens of the row
BERT_MASK_RATIO = 0.15  # of an autoregressive run, which has none


def row_of_tokens(context: ReportContext) -> Slide | None:
    """Show a part of an image's row of tokens, and what each objective hides of it."""
    model, images = context.model, context.subset
    if not isinstance(model, HasImageTokens) or images is None:
        return None
    assert isinstance(model, Model)
    image = images[len(images) // 2]
    tokens = model.image_tokens(image)[0]
    ratio = float(context.model_options.get("mask_ratio") or BERT_MASK_RATIO)
    mask = _random_mask(tokens.shape, ratio)
    probs = model.token_probs(image, mask)[np.arange(tokens.size), tokens.flatten()]
    scored = np.ones(tokens.size, bool) if model.left_to_right else mask.flatten()
    nats = -np.log(np.maximum(probs[scored], 1e-30))
    start = max(0, (tokens.size - MAX_SHOWN) // 2)
    shown = np.arange(start, min(start + MAX_SHOWN, tokens.size))
    later = np.arange(tokens.size) > (shown[0] + shown[-1]) // 2
    views = [
        ("autoregressive", later, "each token from those before it"),
        ("BERT (masked)", mask.flatten(), "the hidden tokens from all others"),
    ]
    values = {
        "image": inline_shrunk(image.pixels[0], "The image"),
        "strip": _show_strip(model, tokens, shown, np.zeros(tokens.size, bool)),
        "numbers": tokens.flatten()[shown].tolist(),
        "first": int(shown[0]) + 1,
        "views": [
            (name, text, _show_strip(model, tokens, shown, hidden), _describe_hidden(hidden))
            for name, hidden, text in views
        ],
        "has_tokenizer": context.model_options.get("image_tokenizer") is not None,
        "is_exact": isinstance(model, HasPalette) and model.palette_is_exact,
        "shape": f"{tokens.shape[0]} × {tokens.shape[1]}",
        "num_tokens": tokens.size,
        "left_to_right": model.left_to_right,
        "nats": format_number(float(nats.mean()), 3),
        "perplexity": format_number(float(np.exp(nats.mean())), 3),
        "total": format_number(float(nats.sum()), 4),
        "num_scored": int(scored.sum()),
    }
    code = (locate(type(model).loss), locate(type(model).token_probs))
    return Slide("row_of_tokens", TITLE, values, code)


def _random_mask(shape: tuple[int, ...], ratio: float) -> np.ndarray:
    """Mask a fraction of the tokens, at least one and not all."""
    size = int(np.prod(shape))
    count = int(np.clip(round(ratio * size), 1, size - 1))
    mask = np.zeros(size, bool)
    mask[np.random.default_rng(0).permutation(size)[:count]] = True
    return mask.reshape(shape)


def _show_strip(
    model: HasImageTokens, tokens: np.ndarray, shown: np.ndarray, hidden: np.ndarray
) -> Any:
    """Return the patches of some tokens in a row; hidden ones are red."""
    pixels = model.tokens_to_images(tokens[None]).pixels[0]
    pixels = pixels if pixels.shape[2] == 3 else pixels.repeat(3, 2)
    h, w = pixels.shape[0] // tokens.shape[0], pixels.shape[1] // tokens.shape[1]
    patches = [
        np.full((h, w, 3), ERROR_COLOR, np.uint8)
        if hidden[i]
        else pixels[r * h : (r + 1) * h, c * w : (c + 1) * w]
        for i, (r, c) in ((i, divmod(i, tokens.shape[1])) for i in shown.tolist())
    ]
    scale = max(1, 16 // max(h, w))
    row = np.stack(patches).repeat(scale, 1).repeat(scale, 2)
    return inline_row(Images(np.ascontiguousarray(row)), f"{len(shown)} tokens of the row")


def _describe_hidden(hidden: np.ndarray) -> str:
    return f"{int(hidden.sum())} of {len(hidden)} tokens are hidden (red)"
