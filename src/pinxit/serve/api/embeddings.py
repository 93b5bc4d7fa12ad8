"""/v1/embeddings: image embeddings, as an extension."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.sse import while_connected
from pinxit.serve.inference.router import Painters
from pinxit.serve.media.sources import Sources
from pinxit.serve.schemas import Embed, json_of


@dataclass(frozen=True)
class Embeddings:
    """/v1/embeddings of images, by data URL: an extension."""

    painters: Painters
    sources: Sources

    async def create(self, request: Request) -> Response:
        fields = await json_of(request, Embed)
        urls = [fields.input] if isinstance(fields.input, str) else fields.input
        choice = self.painters.named(fields.model)
        sent = [
            await asyncio.to_thread(self.sources.of_url, url, f"input[{i}]")
            for i, url in enumerate(urls)
        ]
        by, vectors = await while_connected(request, choice.embed(sent))
        data = [
            {"object": "embedding", "index": i, "embedding": _numbers(vector, fields)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
        return JSONResponse({"object": "list", "data": data, "model": by.name, "usage": usage})


def _numbers(vector: np.ndarray, fields: Embed) -> list[float] | str:
    if fields.encoding_format == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    return [float(number) for number in vector]
