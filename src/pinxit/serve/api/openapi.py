"""Routes with the request bodies and errors that the OpenAPI document lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from pinxit.serve import schemas as fields


@dataclass(frozen=True)
class _Adding:
    """Routes with what the OpenAPI document says of their bodies and errors."""

    app: FastAPI

    def get(self, path: str, run: Any, name: str | None = None) -> None:
        self._add("GET", path, run, None, name)

    def delete(self, path: str, run: Any) -> None:
        self._add("DELETE", path, run, None, None)

    def post(
        self, path: str, run: Any, kind: type[fields.Fields] | None = None, *,
        form: bool = False, only_form: bool = False,
    ) -> None:  # fmt: skip
        body: dict[str, Any] = {}
        if kind is not None and not only_form:
            body["application/json"] = {"schema": _schema(kind)}
        if form:
            body["multipart/form-data"] = {"schema": _form_schema(kind)}
        self._add("POST", path, run, body or None, None)

    def _add(
        self, method: str, path: str, run: Any, body: dict[str, Any] | None, name: str | None
    ) -> None:
        extra = {"requestBody": {"content": body, "required": True}} if body else None
        kind = f"{type(run.__self__).__name__} {run.__name__}"
        self.app.add_api_route(
            path,
            run,
            methods=[method],
            name=name or kind.lower().replace(" ", "_"),
            openapi_extra=extra,
            responses=_errors(),
            response_class=JSONResponse,
            response_model=None,
            tags=["openai"],
        )


def _schema(kind: type[fields.Fields]) -> dict[str, Any]:
    """A body's schema, with what it refers to written out in its place."""
    schema = kind.model_json_schema()
    named = schema.pop("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return whole(named[part["$ref"].rsplit("/", 1)[-1]])
            return {name: whole(value) for name, value in part.items()}
        return [whole(one) for one in part] if isinstance(part, list) else part

    return whole(schema)


def _form_schema(kind: type[fields.Fields] | None) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    if kind is None:
        named = {"file": file, "purpose": {"type": "string", "minLength": 1}}
        return {"type": "object", "properties": named, "required": ["file", "purpose"]}
    schema = _schema(kind)
    own = {name: one for name, one in schema["properties"].items() if name != "images"}
    required = [*schema.get("required", []), "image"]
    return {
        "type": "object",
        "properties": {**own, "image": file, "mask": file},
        "required": required,
    }


def _errors() -> dict[int | str, dict[str, Any]]:
    keys = {name: {"type": ["string", "null"]} for name in ("param", "code")}
    text = {"type": "string"}
    one = {
        "type": "object",
        "properties": {"message": text, "type": text, **keys},
        "required": ["message", "type", "param", "code"],
    }
    schema = {"type": "object", "properties": {"error": one}, "required": ["error"]}
    content = {"application/json": {"schema": schema}}
    said = {
        400: "Something in the request cannot be.",
        401: "The key is missing or wrong.",
        403: "The host name is not served.",
        404: "What is named is not there.",
        413: "The request is too large.",
        415: "The body is of another type.",
        422: "Something in the request cannot be.",
        429: "Too many wait.",
    }
    return {status: {"description": text, "content": content} for status, text in said.items()}
