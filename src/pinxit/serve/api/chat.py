"""/v1/chat/completions, for clients that know only that route."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from pinxit.serve.api.sse import while_connected
from pinxit.serve.dialogue.parse import understood
from pinxit.serve.dialogue.response import Answer, plain
from pinxit.serve.errors import Refusal
from pinxit.serve.inference.router import Painters
from pinxit.serve.media.sources import Sources
from pinxit.serve.schemas import Chat, Respond, json_of
from pinxit.serve.store import Store, new_id


@dataclass(frozen=True)
class Chats:
    """/v1/chat/completions for clients that know only that: images in, words out.

    A request to paint is answered with an image as a Markdown data URL.
    """

    painters: Painters
    store: Store
    sources: Sources
    work: Callable[[Answer], Awaitable[None]] = plain

    async def create(self, request: Request) -> Response:
        fields = await json_of(request, Chat)
        choice = self.painters.named(fields.model)
        items = [_as_item(message, i) for i, message in enumerate(fields.messages)]
        asked = Respond(
            model=fields.model, input=items, tools=[{"type": "image_generation"}], store=False
        )
        turn = await asyncio.to_thread(understood, asked, self.store, self.sources)
        if not _wants_a_image(turn.talk.prompt):
            turn = type(turn)(**{**vars(turn), "tool": None})
        answer = Answer(turn, choice, lambda _: None)
        await while_connected(request, self._worked(answer))
        text = "\n\n".join(_as_text(item) for item in answer.body["output"])
        record: dict[str, Any] = {
            "id": new_id("chatcmpl"),
            "created": int(time.time()),
            "model": fields.model,
        }
        if fields.stream:
            return StreamingResponse(_chunks(record, text), media_type="text/event-stream")
        usage = answer.body["usage"]
        message = {"role": "assistant", "content": text, "refusal": None}
        return JSONResponse(
            {
                **record,
                "object": "chat.completion",
                "choices": [
                    {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
                ],
                "usage": {
                    "prompt_tokens": usage["input_tokens"],
                    "completion_tokens": usage["output_tokens"],
                    "total_tokens": usage["total_tokens"],
                },
            }
        )

    async def _worked(self, answer: Answer) -> None:
        await self.work(answer)
        answer.finish()


def _wants_a_image(prompt: str) -> bool:
    from pinxit.serve.prompts import caption_of

    return caption_of(prompt) != prompt.strip()


def _as_item(message: dict[str, Any], number: int) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        return {"role": message.get("role"), "content": content}
    if not isinstance(content, list):
        raise Refusal("content is a text or a list of parts.", param=f"messages[{number}].content")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image_url":
            url = part.get("image_url")
            url = url.get("url") if isinstance(url, dict) else url
            parts.append({"type": "input_image", "image_url": url})
        else:
            parts.append(part)
    return {"role": message.get("role"), "content": parts}


def _as_text(item: dict[str, Any]) -> str:
    if item["type"] == "message":
        return "".join(part["text"] for part in item["content"])
    return f"![image](data:image/{item['output_format']};base64,{item['result']})"


async def _chunks(record: dict[str, Any], text: str) -> AsyncIterator[bytes]:
    import json

    def chunk(delta: dict[str, Any], reason: str | None) -> bytes:
        one = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        body = {**record, "object": "chat.completion.chunk", "choices": [one]}
        return f"data: {json.dumps(body)}\n\n".encode()

    yield chunk({"role": "assistant", "content": ""}, None)
    for piece in re.findall(r"\S+\s*|\s+", text):
        yield chunk({"content": piece}, None)
    yield chunk({}, "stop")
    yield b"data: [DONE]\n\n"
