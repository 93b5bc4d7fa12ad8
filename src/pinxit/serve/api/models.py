"""/v1/models, /v1/files, /v1/chat/completions and /v1/embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse, Response

from pinxit.serve.errors import unknown_model
from pinxit.serve.inference.router import ROUTER, Painters


@dataclass(frozen=True)
class Models:
    """GET /v1/models: runs with what they can do, and the names that stand for them."""

    painters: Painters

    async def all(self) -> Response:
        data = [self._record(name) for name in self.painters.names]
        return JSONResponse({"object": "list", "data": data})

    async def one(self, model_id: str) -> Response:
        if model_id not in self.painters.names:
            raise unknown_model(model_id, self.painters.names)
        return JSONResponse(self._record(model_id))

    def _record(self, name: str) -> dict[str, Any]:
        choice = self.painters.named(name)
        able = sorted({ability for one in choice.among for ability in one.abilities})
        record: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": min(one.since for one in choice.among),
            "owned_by": "pinxit",
            "abilities": able,
        }
        served = self.painters.served.get(name)
        if served is None:
            target = self.painters.aliases[name]
            return {**record, "stands_for": "all runs" if target == ROUTER else target}
        info = served.info
        return {**record, "family": served.run.family, "size": f"{info.width}x{info.height}"}
