"""Captions in every language, with the cross-attention of each token over the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.models.protocols import CanCaption
from pinxit.serve.errors import clean_text
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.tasks import run_task
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.pools import work_on_images


async def caption_attention(run: LoadedRun, source: UploadedImage) -> dict[str, Any]:
    """Caption an image in each language; return each token's attention to each image cell."""
    model: CanCaption = run.model

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[dict[str, Any]]]:
        yield [_caption(model, Images(row[None])) for row in rows]

    rows = [await work_on_images(source.fit_to, run.info)]
    return (await run_task(run, "attention", task, rows))[0]


def _caption(model: CanCaption, image: Images) -> dict[str, Any]:
    captions, shape = [], (0, 0)
    for language in model.text_tokenizer.languages:
        text = model.caption(image, language=language)[0][0].text
        attention = model.token_attention(image, [text], language)[0]
        tokens = [{"token": clean_text(t.token), "weights": _scale(t.weights)} for t in attention]
        shape = attention[0].weights.shape if attention else shape
        language, text = clean_text(language), clean_text(text)
        captions.append({"language": language, "text": text, "tokens": tokens})
    return {"rows": shape[0], "columns": shape[1], "captions": captions}


def _scale(weights: np.ndarray) -> list[float]:
    """Flatten the weights row by row, scaled to a maximum of 1."""
    return [round(float(w), 3) for w in weights.ravel() / max(float(weights.max()), 1e-9)]
