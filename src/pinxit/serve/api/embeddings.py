"""/v1/embeddings: embeddings of images, an extension of OpenAI's route for text."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.sse import run_while_connected
from pinxit.serve.errors import broken_model
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.router import Router
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.media.uploads import check_pixel_budget
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
        run, vectors = await run_while_connected(request, self._embed(router, urls))
        data = [
            {"object": "embedding", "index": i, "embedding": _encode(vector, fields)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
        return JSONResponse({"object": "list", "data": data, "model": run.name, "usage": usage})

    async def _embed(self, router: Router, urls: list[str]) -> tuple[LoadedRun, list[np.ndarray]]:
        """Raises ApiError for invalid images, and for a model whose vectors are no numbers."""
        loader = RequestImages(self.sources)
        images = [
            await read_in_thread(loader.load_url, url, f"input[{i}]") for i, url in enumerate(urls)
        ]
        check_pixel_budget(images, "input")
        run, vectors = await router.embed(images)
        if not all(np.isfinite(vector).all() for vector in vectors):
            raise broken_model(run.name)
        return run, vectors


def _encode(vector: np.ndarray, fields: EmbeddingsRequest) -> list[float] | str:
    if fields.encoding_format == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    return [float(value) for value in vector]
