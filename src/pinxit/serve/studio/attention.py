"""Captions with where each of their words looked in the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from pinxit.data.images import Images
from pinxit.serve.inference.registry import Served
from pinxit.serve.inference.tasks import finish
from pinxit.serve.media.uploads import Sent


async def looked_at(by: Served, source: Sent) -> dict[str, Any]:
    """Of each language the caption and, piece by piece, the weight on each part of the image."""

    def task(rows: Sequence[np.ndarray]) -> Iterator[list[dict[str, Any]]]:
        yield [_told(by.model, Images(row[None])) for row in rows]

    return (await finish(by, "looking", task, [source.fitted(by.info)]))[0]


@torch.inference_mode()
def _told(model: Any, image: Images) -> dict[str, Any]:
    pixels = torch.from_numpy(np.array(image.pixels)).to(model.device)
    read = model.read(None, pixels)
    rows, columns = _grid(model)
    found = []
    for language in model.words.languages:
        said = model.caption(image, language=language)[0][0]
        tokens = model.tokens_of([said.text], [language], cut=True)
        weights = model.looking(read, tokens[:, :-1])[0].cpu().numpy()
        pieces = tokens[0, 1:-1].tolist()
        words = [
            {"word": model.words.decode([piece]), "weights": _scaled(weight, rows, columns)}
            for piece, weight in zip(pieces, weights, strict=False)
        ]
        found.append({"language": language, "text": said.text, "words": words})
    return {"rows": rows, "columns": columns, "captions": found}


def _grid(model: Any) -> tuple[int, int]:
    if model.config.read == "codes":
        return model.codes.grid
    side = model.config.patch
    return model.info.height // side, model.info.width // side


def _scaled(weights: np.ndarray, rows: int, columns: int) -> list[float]:
    part = weights[-rows * columns :]
    return [round(float(w), 3) for w in part / max(float(part.max()), 1e-9)]
