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
from pinxit.serve.dialogue.parse import parse_request
from pinxit.serve.dialogue.response import AnswerFunction, ResponseBuilder, answer_without_llm
from pinxit.serve.errors import ApiError
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.prompts import requests_image
from pinxit.serve.schemas import ChatRequest, ResponsesRequest, parse_json_body
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
        items = [_to_item(message, i) for i, message in enumerate(fields.messages)]
        responses_request = ResponsesRequest(
            model=fields.model, input=items, tools=[{"type": "image_generation"}], store=False
        )
        parsed = await asyncio.to_thread(parse_request, responses_request, self.store, self.sources)
        if not requests_image(parsed.conversation.prompt):
            parsed = replace(parsed, tool=None)
        builder = ResponseBuilder(parsed, router, lambda _: None)
        await run_while_connected(request, self._build(builder))
        return _to_response(fields, builder.body)

    async def _build(self, builder: ResponseBuilder) -> None:
        await self.answer(builder)
        builder.finish()


def _to_item(message: dict[str, Any], index: int) -> dict[str, Any]:
    """Convert a chat message to an input item of /v1/responses."""
    content = message.get("content")
    if isinstance(content, str):
        return {"role": message.get("role"), "content": content}
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
    return {"role": message.get("role"), "content": parts}


def _to_response(fields: ChatRequest, body: dict[str, Any]) -> Response:
    text = "\n\n".join(_to_text(item) for item in body["output"])
    record: dict[str, Any] = {
        "id": new_id("chatcmpl"),
        "created": int(time.time()),
        "model": fields.model,
    }
    if fields.stream:
        return StreamingResponse(_stream_chunks(record, text), media_type="text/event-stream")
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {
        "prompt_tokens": body["usage"]["input_tokens"],
        "completion_tokens": body["usage"]["output_tokens"],
        "total_tokens": body["usage"]["total_tokens"],
    }
    return JSONResponse(
        {**record, "object": "chat.completion", "choices": [choice], "usage": usage}
    )


def _to_text(item: dict[str, Any]) -> str:
    if item["type"] == "message":
        return "".join(part["text"] for part in item["content"])
    return f"![image](data:image/{item['output_format']};base64,{item['result']})"


async def _stream_chunks(record: dict[str, Any], text: str) -> AsyncIterator[bytes]:
    def encode(delta: dict[str, Any], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        body = {**record, "object": "chat.completion.chunk", "choices": [choice]}
        return f"data: {json.dumps(body)}\n\n".encode()

    yield encode({"role": "assistant", "content": ""}, None)
    for delta in re.findall(r"\S+\s*|\s+", text):
        yield encode({"content": delta}, None)
    yield encode({}, "stop")
    yield b"data: [DONE]\n\n"
