"""Parse and validate the bodies of requests. An error names the first invalid field."""

from __future__ import annotations

import functools
import json
import math
import re
from typing import Any, TypeVar, get_args

from fastapi import Request
from pydantic import ValidationError

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.schemas import Schema

MAX_DEPTH = 100  # of objects and lists in each other

S = TypeVar("S", bound=Schema)


async def parse_json_body(request: Request, schema: type[S]) -> S:
    """Parse a JSON body. Raises ApiError: 415 for another media type, 400 for invalid content."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise ApiError(
            f"The content type must be application/json, not '{truncate(media)}'.",
            status=415,
            code="unsupported_content_type",
        )
    return validate(parse_json_object(await request.body()), schema)


def parse_json_object(content: bytes) -> dict[str, Any]:
    """Parse the JSON text of an object. Raises ApiError for anything else."""
    try:
        data = json.loads(
            content.decode("utf-8"), parse_constant=_reject_constant, parse_float=_parse_float
        )
        if re.search(rb"\\u[dD][89a-fA-F]", content):  # half of a surrogate pair is no text
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = "The body contains half of a surrogate pair."
        raise ApiError(message, code="invalid_json") from None
    except (ValueError, RecursionError) as error:
        is_ours = isinstance(error, json.JSONDecodeError | InvalidNumber)
        reason = str(error) if is_ours else type(error).__name__
        message = f"The body is not valid JSON: {truncate(reason)}."
        raise ApiError(message, code="invalid_json") from None
    if not isinstance(data, dict):
        raise ApiError("The body must be a JSON object.", code="invalid_json")
    if _is_deeper_than(data, MAX_DEPTH):
        raise ApiError("The body is nested too deeply.", code="invalid_json")
    return data


def _is_deeper_than(data: object, depth: int) -> bool:
    """Return whether objects and lists are nested deeper than this."""
    level = [data]
    for _ in range(depth):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


class InvalidNumber(ValueError):
    """A number that JSON does not have."""


def _reject_constant(name: str) -> float:
    raise InvalidNumber(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    """Raises InvalidNumber for a number that overflows: it could not be written again."""
    number = float(text)
    if not math.isfinite(number):
        raise InvalidNumber(f"{truncate(text)} is too large")
    return number


def validate(data: dict[str, Any], schema: type[S], prefix: str = "") -> S:
    """Validate an object. Raises ApiError for its first invalid field, named after `prefix`."""
    check_fields(data, schema, prefix)
    try:
        return schema.model_validate(data)
    except RecursionError:
        raise ApiError("The body is nested too deeply.", code="invalid_json") from None
    except ValidationError as error:
        raise _to_api_error(error, prefix) from None


@functools.cache
def _inner_schemas(schema: type[Schema]) -> dict[str, type[Schema] | None]:
    """Return the schema in each field of a schema."""
    return {name: _schema_in(field.annotation) for name, field in schema.model_fields.items()}


def _schema_in(annotation: object) -> type[Schema] | None:
    """Return the schema in an annotation such as `list[ImageRef] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Schema):
        return annotation
    found = map(_schema_in, get_args(annotation))
    return next((schema for schema in found if schema is not None), None)


def check_fields(data: dict[str, Any], schema: type[Schema], prefix: str = "") -> None:
    """Raises ApiError for a field that is refused or unknown, unless it asks for nothing.

    Objects in objects are checked too.
    """
    for name, value in data.items():
        param = f"{prefix}.{truncate(name)}" if prefix else truncate(name)
        if name in schema.model_fields:
            inner = _inner_schemas(schema)[name]
            if inner is not None and isinstance(value, dict):
                check_fields(value, inner, param)
            elif inner is not None and isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, dict):
                        check_fields(item, inner, f"{param}[{i}]")
        if name in schema.model_fields or not value:
            continue
        if name in schema.REFUSED:
            message = f"'{param}' is not supported."
            raise ApiError(message, param=param, code="unsupported_parameter")
        raise ApiError(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


ERROR_CODES = {
    "missing": "missing_required_parameter",
    "string_too_long": "string_above_max_length",
    "greater_than_equal": "integer_out_of_range",
    "less_than_equal": "integer_out_of_range",
}


def _to_api_error(error: ValidationError, prefix: str) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    names = [part for part in first["loc"] if not _is_union_branch(part)]
    param = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in names).strip(".")
    param = f"{prefix}.{param}" if prefix and param else prefix or param
    where = f"'{param}'" if param else "the body"
    message = f"Invalid value for {where}: {first['msg']}."
    if first["type"] == "missing":
        message = f"Missing required parameter: {where}."
    code = ERROR_CODES.get(first["type"], "invalid_value")
    return ApiError(message, param=param or None, code=code)


def _is_union_branch(part: str | int) -> bool:
    """Return whether a part of pydantic's error location names a branch of a union, not a field."""
    return isinstance(part, str) and bool(
        re.search(r"[\[\](]|^(constrained-\w+|str|int|dict|list|ImageRef)$", part)
    )


# fields of a form that are numbers or booleans; a form's values are all text
FORM_NUMBERS = (
    "n", "partial_images", "output_compression", "stream", "seed", "guidance", "temperature",
    "top_k", "top_p", "best_of", "start",
)  # fmt: skip


def convert_form_numbers(form: dict[str, str]) -> dict[str, Any]:
    """Convert the texts of a form's numeric fields; any other text is left to `validate`."""
    fields: dict[str, Any] = dict(form)
    for name in FORM_NUMBERS:
        text = form.get(name, "")
        if text in ("true", "false"):
            fields[name] = text == "true"
        elif re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
            fields[name] = int(text)
        elif re.fullmatch(r"-?[0-9]{1,18}\.[0-9]{1,18}", text, re.ASCII):
            fields[name] = float(text)
    return fields
