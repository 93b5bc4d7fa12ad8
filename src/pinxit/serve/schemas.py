"""Request schemas and the parsing of bodies. An error names the first invalid field."""

from __future__ import annotations

import json
import math
import re
import secrets
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from pinxit.models.generation import GenerationParams
from pinxit.serve.errors import ApiError, truncate

MAX_PROMPT_CHARS = 32_000
MAX_DEPTH = 100  # of objects and lists in each other

Prompt = Annotated[StrictStr, Field(max_length=MAX_PROMPT_CHARS)]
NumImages = Annotated[StrictInt, Field(ge=1, le=10)]
Hint = StrictStr | None  # echoed as sent, if anything
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[StrictInt, Field(ge=1, le=2**31)]
Scale = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
RequestSeed = Annotated[StrictInt, Field(ge=0, le=2**53)]


class Schema(BaseModel):
    """A request body, of which no field is dropped in silence.

    A declared field is obeyed, or `HARMLESS`: a hint that means nothing to these models. A field of
    OpenAI's that asks for what they cannot do is `REFUSED` by name, and so is one that nobody
    knows, unless their value asks for nothing (null, false, 0, empty).
    """

    model_config = ConfigDict(extra="ignore", protected_namespaces=())
    HARMLESS: ClassVar[frozenset[str]] = frozenset()
    REFUSED: ClassVar[frozenset[str]] = frozenset()


class ImageOptions(Schema):
    """Options of every request that generates images: OpenAI's, then our sampling options."""

    HARMLESS = frozenset({"quality", "moderation", "complexity"})
    REFUSED = frozenset({"svg", "frame_count", "frame_duration_ms"})

    size: StrictStr | None = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = (
        None
    )
    background: Literal["auto", "opaque", "transparent"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    partial_images: Annotated[StrictInt, Field(ge=0, le=3)] | None = None
    moderation: Hint = None
    complexity: Hint = None
    # extensions
    seed: RequestSeed | None = None
    guidance: Scale | None = None
    temperature: Scale | None = None
    top_k: Annotated[StrictInt, Field(ge=1, le=2**31)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    best_of: Annotated[StrictInt, Field(ge=1, le=16)] | None = None

    def to_params(self, default_seed: int | None = None) -> GenerationParams:
        """Return the sampling options. Without any seed, draw one: the response reports it."""
        names = {"guidance", "temperature", "top_k", "top_p", "best_of"}
        seeds = (seed for seed in (self.seed, default_seed) if seed is not None)
        seed = next(seeds, None)
        return GenerationParams(
            seed=random_seed() if seed is None else seed,
            **self.model_dump(include=names, exclude_none=True),
        )


class GenerateRequest(ImageOptions):
    """POST /v1/images/generations."""

    HARMLESS = ImageOptions.HARMLESS | {"user", "safety_identifier", "style"}

    prompt: Prompt
    model: StrictStr | None = None
    n: NumImages | None = None
    response_format: Literal["b64_json", "url"] | None = None
    stream: StrictBool | None = None
    user: Hint = None
    safety_identifier: Hint = None
    style: Hint = None


class ImageRef(Schema):
    """An image, by URL (`data:` or an allowed host's) or by the id of an uploaded file."""

    HARMLESS = frozenset({"type", "detail", "prompt_cache_breakpoint"})

    type: Hint = None
    detail: Hint = None
    prompt_cache_breakpoint: Any = None
    image_url: StrictStr | None = None
    file_id: StrictStr | None = None


class EditRequest(GenerateRequest):
    """POST /v1/images/edits as JSON; as multipart, the same fields with files."""

    HARMLESS = GenerateRequest.HARMLESS | {"input_fidelity"}
    REFUSED = ImageOptions.REFUSED | {"markup"}

    images: Annotated[list[ImageRef], Field(max_length=16)] = []
    mask: ImageRef | None = None
    input_fidelity: Hint = None


class VariationRequest(ImageOptions):
    """POST /v1/images/variations."""

    HARMLESS = ImageOptions.HARMLESS | {"user"}

    model: StrictStr | None = None
    n: NumImages | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: StrictStr | None = None


class ImageGenerationTool(ImageOptions):
    """The image_generation tool of /v1/responses."""

    HARMLESS = ImageOptions.HARMLESS | {"input_fidelity"}

    type: Literal["image_generation"] = "image_generation"
    action: Literal["auto", "generate", "edit"] | None = None
    model: StrictStr | None = None
    input_image_mask: ImageRef | None = None
    input_fidelity: Hint = None


class TextOptions(Schema):
    """The format of the text of a response."""

    HARMLESS = frozenset({"verbosity"})

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ResponsesRequest(Schema):
    """POST /v1/responses."""

    # sampling of texts is not done here: captions are searched for, and other texts are fixed; a
    # language model (`--llm`) is sent what it knows
    HARMLESS = frozenset({
        "temperature", "top_p", "parallel_tool_calls", "max_tool_calls", "truncation", "reasoning",
        "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "context_management", "stream_options", "moderation", "user",
        "instructions",
    })  # fmt: skip
    REFUSED = frozenset({
        "conversation", "prompt", "background_options", "access_programs", "image", "top_logprobs",
    })  # fmt: skip

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
    text: TextOptions | None = None
    max_output_tokens: Count | None = None
    include: list[StrictStr] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Probability | None = None
    parallel_tool_calls: StrictBool | None = None
    max_tool_calls: Count | None = None
    truncation: Literal["auto", "disabled"] | None = None
    reasoning: dict[str, Any] | None = None
    service_tier: Hint = None
    safety_identifier: Hint = None
    prompt_cache_key: Hint = None
    prompt_cache_retention: Hint = None
    prompt_cache_options: dict[str, Any] | None = None
    context_management: list[dict[str, Any]] | None = None
    stream_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    user: Hint = None
    seed: RequestSeed | None = None  # an extension


class StreamOptions(Schema):
    """What a stream of /v1/chat/completions has beside its text."""

    HARMLESS = frozenset({"include_obfuscation"})

    include_usage: StrictBool | None = None
    include_obfuscation: StrictBool | None = None


class ChatRequest(Schema):
    """POST /v1/chat/completions."""

    HARMLESS = frozenset({
        "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "prediction",
        "parallel_tool_calls", "reasoning_effort", "verbosity", "service_tier", "moderation",
        "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
        "metadata", "user",
    })  # fmt: skip
    REFUSED = frozenset({
        "audio", "functions", "function_call", "logprobs", "top_logprobs", "web_search_options",
        "store",
    })  # fmt: skip

    model: StrictStr
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[StrictInt, Field(ge=1, le=1)] | None = None
    seed: RequestSeed | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=100)] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=4)] | None = None
    modalities: list[Literal["text"]] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Probability | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] | None = None
    logit_bias: dict[str, float] | None = None
    prediction: dict[str, Any] | None = None
    parallel_tool_calls: StrictBool | None = None
    reasoning_effort: Hint = None
    verbosity: Hint = None
    service_tier: Hint = None
    moderation: dict[str, Any] | None = None
    safety_identifier: Hint = None
    prompt_cache_key: Hint = None
    prompt_cache_retention: Hint = None
    prompt_cache_options: dict[str, Any] | None = None
    metadata: dict[str, StrictStr] | None = None
    user: Hint = None


class EmbeddingsRequest(Schema):
    """POST /v1/embeddings: each input is an image URL (an extension)."""

    HARMLESS = frozenset({"user"})
    REFUSED = frozenset({"dimensions"})

    model: StrictStr | None = None
    input: StrictStr | Annotated[list[StrictStr], Field(min_length=1, max_length=64)]
    encoding_format: Literal["float", "base64"] | None = None
    user: Hint = None


S = TypeVar("S", bound=Schema)


def random_seed() -> int:
    """Return a random seed for a request that has none."""
    return secrets.randbelow(2**31)


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
            inner = _schema_in(schema.model_fields[name].annotation)
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
    "top_k", "top_p", "best_of",
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
