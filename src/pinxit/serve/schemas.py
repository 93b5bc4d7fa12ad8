"""The schemas of requests."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from pinxit.models.generation import GenerationParams

MAX_PROMPT_CHARS = 32_000

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
    start: Annotated[StrictInt, Field(ge=0, le=2**31)] | None = None  # index of the first image

    def to_params(self, default_seed: int | None = None) -> GenerationParams:
        """Return the sampling options. Without any seed, draw one: the response reports it."""
        names = {"guidance", "temperature", "top_k", "top_p", "best_of", "start"}
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
    language: StrictStr | None = None  # of the prompt, an extension; None: detected
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


def random_seed() -> int:
    """Return a random seed for a request that has none."""
    return secrets.randbelow(2**31)
