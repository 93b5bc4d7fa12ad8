"""Captions in each language, with the cross-attention of each token over the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.models.protocols import CanCaption
from pinxit.serve.inference.registry import Served
from pinxit.serve.inference.tasks import finish
from pinxit.serve.media.uploads import Sent


async def caption_attention(by: Served, source: Sent) -> dict[str, Any]:
    """The caption in each language and, token by token, its attention to each cell of the image."""

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[dict[str, Any]]]:
        yield [_captions(by.model, Images(row[None])) for row in rows]

    return (await finish(by, "attention", task, [source.fitted(by.info)]))[0]


def _captions(model: CanCaption, image: Images) -> dict[str, Any]:
    captions, shape = [], (0, 0)
    for language in model.text_tokenizer.languages:
        text = model.caption(image, language=language)[0][0].text
        tokens = model.token_attention(image, [text], language)[0]
        words = [{"word": t.token, "weights": _scale(t.weights)} for t in tokens]
        shape = tokens[0].weights.shape if tokens else shape
        captions.append({"language": language, "text": text, "words": words})
    return {"rows": shape[0], "columns": shape[1], "captions": captions}


def _scale(weights: np.ndarray) -> list[float]:
    """Weights row by row, the largest 1."""
    return [round(float(w), 3) for w in weights.ravel() / max(float(weights.max()), 1e-9)]
