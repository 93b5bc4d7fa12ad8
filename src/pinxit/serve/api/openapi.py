"""Add routes with their request bodies and errors in the OpenAPI document.

The routes parse bodies themselves, since FastAPI would return errors in its own format.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from pinxit.serve.schemas import Schema

Handler = Callable[..., Awaitable[Response]]

STATUS_TEXTS = {
    400: "Invalid request.",
    401: "The API key is missing or invalid.",
    403: "The host name is not allowed.",
    404: "The object does not exist.",
    413: "The request is too large.",
    415: "The content type is not supported.",
    422: "Invalid request.",
    429: "The queue is full.",
}


@dataclass(frozen=True)
class RouteAdder:
    """Adds routes to an application, and documents them."""

    app: FastAPI

    def get(self, path: str, handler: Handler, name: str) -> None:
        self._add("GET", path, handler, name)

    def delete(self, path: str, handler: Handler, name: str) -> None:
        self._add("DELETE", path, handler, name)

    def post(
        self,
        path: str,
        handler: Handler,
        name: str,
        *,
        json: type[Schema] | None = None,
        form: dict[str, Any] | None = None,
    ) -> None:
        """`json` and `form`: the schemas of the body as JSON and as a multipart form."""
        content: dict[str, Any] = {}
        if json is not None:
            content["application/json"] = {"schema": inline_schema(json)}
        if form is not None:
            content["multipart/form-data"] = {"schema": form}
        self._add("POST", path, handler, name, content)

    def _add(
        self,
        method: str,
        path: str,
        handler: Handler,
        name: str,
        content: dict[str, Any] | None = None,
    ) -> None:
        body = {"requestBody": {"content": content, "required": True}} if content else None
        self.app.add_api_route(
            path,
            handler,
            methods=[method],
            name=name,
            openapi_extra=body,
            responses=_error_responses(),
            response_class=JSONResponse,
            response_model=None,
            tags=["openai"],
        )


def inline_schema(schema_type: type[Schema]) -> dict[str, Any]:
    """Return the JSON schema of a body, with each reference replaced by its definition."""
    schema = schema_type.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inline(part: object) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return inline(definitions[part["$ref"].rsplit("/", 1)[-1]])
            return {name: inline(value) for name, value in part.items()}
        return [inline(value) for value in part] if isinstance(part, list) else part

    return inline(schema)


_FILE = {"type": "string", "format": "binary"}

FILE_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"file": _FILE, "purpose": {"type": "string", "minLength": 1}},
    "required": ["file", "purpose"],
}


def image_form(schema_type: type[Schema]) -> dict[str, Any]:
    """Return the schema of a form with the fields of a JSON body, and files for its images."""
    schema = inline_schema(schema_type)
    fields = {name: field for name, field in schema["properties"].items() if name != "images"}
    return {
        "type": "object",
        "properties": {**fields, "image": _FILE, "mask": _FILE},
        "required": [*schema.get("required", []), "image"],
    }


def _error_responses() -> dict[int | str, dict[str, Any]]:
    text, nullable = {"type": "string"}, {"type": ["string", "null"]}
    error = {
        "type": "object",
        "properties": {"message": text, "type": text, "param": nullable, "code": nullable},
        "required": ["message", "type", "param", "code"],
    }
    schema = {"type": "object", "properties": {"error": error}, "required": ["error"]}
    content = {"application/json": {"schema": schema}}
    return {
        status: {"description": text, "content": content} for status, text in STATUS_TEXTS.items()
    }
