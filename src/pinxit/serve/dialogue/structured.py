"""Answers in the JSON that a client's schema asks for: where one text is all that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pinxit.serve.errors import ApiError

Format = Callable[[str], str]  # from an answer to the text of a message


def parse_format(options: Mapping[str, Any] | None, param: str) -> Format:
    """Return the function that formats an answer as `text.format` or `response_format` asks.

    A schema can be filled if it asks for an object with one text, or one list of texts, and for
    nothing else. Raises ApiError for any other.
    """
    kind = (options or {}).get("type", "text")
    if kind == "text":
        return str
    if kind == "json_object":
        return lambda text: json.dumps({"caption": text}, ensure_ascii=False)
    if kind != "json_schema":
        raise ApiError("The type must be text, json_object or json_schema.", param=f"{param}.type")
    assert options is not None
    inner = options.get("json_schema")  # of a chat; of a response its fields stand in the format
    schema = (inner if isinstance(inner, Mapping) else options).get("schema")
    name, is_list = _find_text(schema, f"{param}.schema")
    return lambda text: json.dumps({name: [text] if is_list else text}, ensure_ascii=False)


def _find_text(schema: object, param: str) -> tuple[str, bool]:
    """Return the property that takes a text, and whether it takes a list of texts."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise _schema_error(param)
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    names = required if isinstance(required, list) and required else list(properties)
    if len(names) != 1 or not isinstance(names[0], str):
        raise _schema_error(param)
    of_name = properties.get(names[0])
    if _is_text(of_name):
        return names[0], False
    if _is_list_of_texts(of_name):
        return names[0], True
    raise _schema_error(param)


def _is_text(schema: object) -> bool:
    """Return whether a schema is of any text."""
    if not isinstance(schema, Mapping) or schema.get("type") != "string":
        return False
    return not {"enum", "const", "pattern", "format", "minLength", "maxLength"} & set(schema)


def _is_list_of_texts(schema: object) -> bool:
    """Return whether a schema is of a list that may hold a single text."""
    if not isinstance(schema, Mapping) or schema.get("type") != "array":
        return False
    return _is_text(schema.get("items")) and schema.get("minItems", 1) in (0, 1)


def _schema_error(param: str) -> ApiError:
    message = (
        "This schema cannot be answered: these models answer with one text. Ask for an object with "
        'one property of type string, such as {"caption": ...}.'
    )
    return ApiError(message, param=param, code="unsupported_parameter")
