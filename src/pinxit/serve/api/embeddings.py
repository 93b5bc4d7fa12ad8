"""/v1/embeddings: embeddings of images, an extension of OpenAI's route for text."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.sse import run_while_connected
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.pools import read_in_thread
from pinxit.serve.schemas import EmbeddingsRequest
from pinxit.serve.validation import parse_json_body


@dataclass(frozen=True)
class EmbeddingRoutes:
    """The route of embeddings; each input is an image's URL."""

    models: ModelRegistry
    sources: ImageSources

    async def create(self, request: Request) -> Response:
        fields = await parse_json_body(request, EmbeddingsRequest)
        urls = [fields.input] if isinstance(fields.input, str) else fields.input
        router = self.models.find(fields.model)
        images = [
            await read_in_thread(self.sources.load_url, url, f"input[{i}]")
            for i, url in enumerate(urls)
        ]
        run, vectors = await run_while_connected(request, router.embed(images))
        data = [
            {"object": "embedding", "index": i, "embedding": _encode(vector, fields)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
        return JSONResponse({"object": "list", "data": data, "model": run.name, "usage": usage})


def _encode(vector: np.ndarray, fields: EmbeddingsRequest) -> list[float] | str:
    if fields.encoding_format == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    return [float(value) for value in vector]
