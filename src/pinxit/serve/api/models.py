"""/v1/models: the served runs, their abilities and aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse, Response

from pinxit.serve.inference.registry import ALL_RUNS, ModelRegistry


@dataclass(frozen=True)
class ModelRoutes:
    """The routes of models."""

    models: ModelRegistry

    async def list(self) -> Response:
        data = [self._to_record(name) for name in self.models.names]
        return JSONResponse({"object": "list", "data": data})

    async def retrieve(self, model_id: str) -> Response:
        return JSONResponse(self._to_record(model_id))  # 404 for an unknown one

    def _to_record(self, name: str) -> dict[str, Any]:
        router = self.models.find(name)
        record: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": min(run.loaded_at for run in router.runs),
            "owned_by": "pinxit",
            "abilities": router.abilities,
        }
        run = self.models.runs.get(name)
        if run is None:
            target = self.models.aliases.get(name, ALL_RUNS)
            return {**record, "alias_of": "all runs" if target == ALL_RUNS else target}
        size = f"{run.info.width}x{run.info.height}"
        return {**record, "family": run.run.family, "size": size}
