"""/v1/chat/completions, for clients that know only this route."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from pinxit.serve.api.sse import run_while_connected
from pinxit.serve.dialogue.parse import ParsedRequest, parse_request
from pinxit.serve.dialogue.response import AnswerFunction, ResponseBuilder, answer_without_llm
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.prompts import requests_image
from pinxit.serve.schemas import ChatRequest, ResponsesRequest, TextOptions, parse_json_body
from pinxit.serve.store import Store, new_id


@dataclass(frozen=True)
class ChatRoutes:
    """Answers a chat as /v1/responses does; a generated image is a Markdown data URL."""

    models: ModelRegistry
    store: Store
    sources: ImageSources
    answer: AnswerFunction = answer_without_llm

    async def create(self, request: Request) -> Response:
        fields = await parse_json_body(request, ChatRequest)
        router = self.models.find(fields.model)
        try:
            parsed = await asyncio.to_thread(self._parse, fields)
        except ApiError as error:
            raise _name_own_fields(error) from None
        if not (router.only_generates or requests_image(parsed.conversation.prompt)):
            parsed = replace(parsed, tool=None)
        builder = ResponseBuilder(parsed, router, lambda _: None)
        await run_while_connected(request, self._build(builder))
        return _to_response(fields, builder.body)

    def _parse(self, fields: ChatRequest) -> ParsedRequest:
        """Parse the chat as the request to /v1/responses that it amounts to."""
        _check_tool_choice(fields.tool_choice)
        items = [_to_item(message, i) for i, message in enumerate(fields.messages)]
        text = (
            None if fields.response_format is None else TextOptions(format=fields.response_format)
        )
        same = ResponsesRequest(
            model=fields.model,
            input=items,
            tools=[{"type": "image_generation"}],
            store=False,
            seed=fields.seed,
            text=text,
            max_output_tokens=fields.max_completion_tokens or fields.max_tokens,
        )
        return parse_request(same, self.store, self.sources)

    async def _build(self, builder: ResponseBuilder) -> None:
        await self.answer(builder)
        builder.finish()


def _check_tool_choice(choice: str | dict[str, Any] | None) -> None:
    """Raises ApiError where the client's own tools are forced: these models call none."""
    if isinstance(choice, dict) or choice == "required":
        message = "'tool_choice' cannot force a tool: these models call none of the client's."
        raise ApiError(message, param="tool_choice", code="unsupported_parameter")
    if choice not in (None, "auto", "none"):
        raise ApiError(f"Invalid tool_choice '{truncate(choice)}'.", param="tool_choice")


def _name_own_fields(error: ApiError) -> ApiError:
    """Return the error with the name of the field that the client has sent."""
    param = error.param or ""
    for theirs, ours in (("input", "messages"), ("text.format", "response_format")):
        if param.startswith(theirs):
            error.param = ours + param.removeprefix(theirs)
    return error


def _to_item(message: dict[str, Any], index: int) -> dict[str, Any]:
    """Convert a chat message to an input item of /v1/responses."""
    content, role = message.get("content"), message.get("role")
    if role in ("tool", "function"):
        return {"type": "function_call_output", "output": content}
    if isinstance(content, str):
        return {"role": role, "content": content}
    if content is None and role == "assistant":
        return {"role": role, "content": []}  # it only calls tools
    if not isinstance(content, list):
        text = "The content must be a string or a list of parts."
        raise ApiError(text, param=f"messages[{index}].content")
    parts = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "image_url":
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            part = {"type": "input_image", "image_url": url}
        parts.append(part)
    return {"role": role, "content": parts}


def _to_response(fields: ChatRequest, body: dict[str, Any]) -> Response:
    text = "\n\n".join(_to_text(item, fields.stop) for item in body["output"])
    reason = "stop" if body["incomplete_details"] is None else "length"
    record: dict[str, Any] = {
        "id": new_id("chatcmpl"),
        "created": int(time.time()),
        "model": fields.model,
    }
    usage = {
        "prompt_tokens": body["usage"]["input_tokens"],
        "completion_tokens": body["usage"]["output_tokens"],
        "total_tokens": body["usage"]["total_tokens"],
    }
    if fields.stream:
        wants_usage = fields.stream_options is not None and fields.stream_options.include_usage
        chunks = _stream_chunks(record, text, reason, usage if wants_usage else None)
        return StreamingResponse(chunks, media_type="text/event-stream")
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return JSONResponse(
        {**record, "object": "chat.completion", "choices": [choice], "usage": usage}
    )


def _to_text(item: dict[str, Any], stop: str | list[str] | None) -> str:
    """Return a message's text up to the first of the stop sequences, or an image in Markdown."""
    if item["type"] != "message":
        return f"![image](data:image/{item['output_format']};base64,{item['result']})"
    text = "".join(part["text"] for part in item["content"])
    sequences = [stop] if isinstance(stop, str) else stop or []
    ends = [text.find(sequence) for sequence in sequences if sequence and sequence in text]
    return text[: min(ends)] if ends else text


async def _stream_chunks(
    record: dict[str, Any], text: str, reason: str, usage: dict[str, int] | None
) -> AsyncIterator[bytes]:
    """Yield the text by words. With `usage` a last chunk has it, and no choice."""
    record = {**record, "object": "chat.completion.chunk"}

    def encode(body: dict[str, Any]) -> bytes:
        body = body if usage is None else {"usage": None, **body}
        return f"data: {json.dumps({**record, **body})}\n\n".encode()

    def encode_delta(delta: dict[str, Any], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return encode({"choices": [choice]})

    yield encode_delta({"role": "assistant", "content": ""}, None)
    for delta in re.findall(r"\S+\s*|\s+", text):
        yield encode_delta({"content": delta}, None)
    yield encode_delta({}, reason)
    if usage is not None:
        yield encode({"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"
