"""Requests as they come in: read whole, checked field by field, refused with the field's name."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from pinxit.serve.errors import Refusal, short

MOST_TEXT = 32_000  # characters of a prompt

Prompt = Annotated[StrictStr, Field(max_length=MOST_TEXT)]
Number = Annotated[StrictInt, Field(ge=1, le=10)]
Positive = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Fields(BaseModel):
    """Unknown fields are let pass: newer clients send new ones."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Options(Fields):
    """How images are wanted."""

    size: StrictStr | None = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = (
        None
    )
    background: Literal["auto", "opaque", "transparent"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    partial_images: Annotated[StrictInt, Field(ge=0, le=3)] | None = None
    # what no other server of this API has: how the chance falls
    seed: Annotated[StrictInt, Field(ge=0, le=2**53)] | None = None
    guidance: Positive | None = None
    temperature: Positive | None = None
    top_k: Annotated[StrictInt, Field(ge=1, le=2**31)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    best_of: Annotated[StrictInt, Field(ge=1, le=16)] | None = None


class Generate(Options):
    """POST /v1/images/generations."""

    prompt: Prompt
    model: StrictStr | None = None
    n: Number | None = None
    response_format: Literal["b64_json", "url"] | None = None
    stream: StrictBool | None = None
    user: StrictStr | None = None


class Url(Fields):
    """An image by data URL or by file id."""

    image_url: StrictStr | None = None
    file_id: StrictStr | None = None


class EditImages(Generate):
    """POST /v1/images/edits as JSON; as multipart the same fields and files."""

    images: Annotated[list[Url], Field(max_length=16)] = []
    mask: Url | None = None


class Vary(Options):
    """POST /v1/images/variations."""

    model: StrictStr | None = None
    n: Number | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: StrictStr | None = None


class Tool(Options):
    """The image_generation tool."""

    type: Literal["image_generation"]
    action: Literal["auto", "generate", "edit"] | None = None
    model: StrictStr | None = None
    input_image_mask: Url | None = None


class Respond(Fields):
    """POST /v1/responses."""

    model: StrictStr
    input: Prompt | Annotated[list[dict[str, Any]], Field(max_length=1000)]
    tools: Annotated[list[dict[str, Any]], Field(max_length=100)] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    previous_response_id: StrictStr | None = None
    stream: StrictBool | None = None
    store: StrictBool | None = None
    instructions: Prompt | None = None
    metadata: (
        Annotated[
            dict[
                Annotated[StrictStr, Field(max_length=64)],
                Annotated[StrictStr, Field(max_length=512)],
            ],
            Field(max_length=16),
        ]
        | None
    ) = None
    background: StrictBool | None = None
    conversation: Any = None
    prompt: Any = None
    user: StrictStr | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=2**53)] | None = None


class Chat(Fields):
    """POST /v1/chat/completions."""

    model: StrictStr
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    stream: StrictBool | None = None
    n: Annotated[StrictInt, Field(ge=1, le=1)] | None = None


class Embed(Fields):
    """POST /v1/embeddings: each input is an image's data URL (an extension)."""

    model: StrictStr | None = None
    input: StrictStr | Annotated[list[StrictStr], Field(min_length=1, max_length=64)]
    encoding_format: Literal["float", "base64"] | None = None


F = TypeVar("F", bound=Fields)


async def json_of(request: Request, kind: type[F]) -> F:
    """A JSON body as its fields. Raises Refusal for whatever is wrong with it."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise Refusal(
            f"the body is '{short(media)}', not application/json.",
            status=415,
            code="unsupported_content_type",
        )
    return fields_of(parsed(await request.body()), kind)


def parsed(content: bytes) -> dict[str, Any]:
    """JSON text as an object. Raises Refusal for anything else."""
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
        if re.search(rb"\\u[dD][89a-fA-F]", content):  # half a pair is no text
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refusal("a text has half of a surrogate pair in it.", code="invalid_json") from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise Refusal(f"the body is no JSON: {short(reason)}.", code="invalid_json") from None
    if not isinstance(data, dict):
        raise Refusal("the body is no JSON object.", code="invalid_json")
    return data


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def fields_of(data: dict[str, Any], kind: type[F], inside: str = "") -> F:
    """An object's fields. Raises Refusal with the name of the first that is wrong."""
    try:
        return kind.model_validate(data)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise Refusal("the body is nested too deeply.", code="invalid_json") from None
        raise _refusal(error, inside) from None


CODES = {
    "missing": "missing_required_parameter",
    "string_too_long": "string_above_max_length",
    "greater_than_equal": "integer_out_of_range",
    "less_than_equal": "integer_out_of_range",
}


def _refusal(error: ValidationError, inside: str) -> Refusal:
    first = error.errors(include_url=False, include_input=False)[0]
    names = [part for part in first["loc"] if not _is_a_kind(part)]
    param = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in names).strip(".")
    param = f"{inside}.{param}" if inside and param else inside or param
    code = CODES.get(first["type"], "invalid_value")
    said = "is missing" if first["type"] == "missing" else f"cannot be so: {first['msg']}"
    return Refusal(f"'{param or 'the body'}' {said}.", param=param or None, code=code)


def _is_a_kind(part: str | int) -> bool:
    """Whether a part of a place names a branch of a union rather than a field."""
    return isinstance(part, str) and bool(
        re.search(r"[\[\](]|^(constrained-\w+|str|int|dict|list|Url)$", part)
    )


def numbers_in(form: dict[str, str], *names: str) -> dict[str, Any]:
    """A form's texts, those of these names as the numbers or booleans that they say."""
    found: dict[str, Any] = dict(form)
    for name in names:
        text = form.get(name)
        if text is None:
            continue
        if text in ("true", "false"):
            found[name] = text == "true"
        elif re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
            found[name] = int(text)
        elif re.fullmatch(r"-?[0-9]{1,18}\.[0-9]{1,18}", text, re.ASCII):
            found[name] = float(text)
    return found


def whole_list(data: list[dict[str, Any]]) -> dict[str, Any]:
    """All there is, on one page."""
    first, last = (data[0].get("id"), data[-1].get("id")) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False}
