"""/v1/models, /v1/files, /v1/chat/completions and /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import UploadFile

from pinxit.serve.answers import Answer, plain
from pinxit.serve.conversation import Sources, new_id, understood
from pinxit.serve.fields import Chat, Embed, Respond, json_of
from pinxit.serve.images import received
from pinxit.serve.lists import whole_list
from pinxit.serve.painters import ROUTER, Painters
from pinxit.serve.pictures_api import _form, media_of
from pinxit.serve.refusals import Refusal, short, unknown_model
from pinxit.serve.store import Store, Stored
from pinxit.serve.streams import while_connected


@dataclass(frozen=True)
class Models:
    """GET /v1/models: runs with what they can do, and the names that stand for them."""

    painters: Painters

    async def all(self) -> Response:
        data = [self._record(name) for name in self.painters.names]
        return JSONResponse({"object": "list", "data": data})

    async def one(self, model_id: str) -> Response:
        if model_id not in self.painters.names:
            raise unknown_model(model_id, self.painters.names)
        return JSONResponse(self._record(model_id))

    def _record(self, name: str) -> dict[str, Any]:
        choice = self.painters.named(name)
        able = sorted({ability for one in choice.among for ability in one.abilities})
        record: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": min(one.since for one in choice.among),
            "owned_by": "pinxit",
            "abilities": able,
        }
        served = self.painters.served.get(name)
        if served is None:
            target = self.painters.aliases[name]
            return {**record, "stands_for": "all runs" if target == ROUTER else target}
        facts = served.facts
        return {**record, "family": served.run.family, "size": f"{facts.width}x{facts.height}"}


@dataclass(frozen=True)
class Files:
    """/v1/files, for images."""

    store: Store

    async def create(self, request: Request) -> Response:
        form = await _form(request)
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise Refusal("there is no file.", param="file")
        if not isinstance(purpose, str) or not re.fullmatch(r"[\w.-]{1,64}", purpose):
            raise Refusal("'purpose' is a word, as vision.", param="purpose")
        content = await file.read()
        await asyncio.to_thread(received, content, "file")
        name = re.sub(r"[^\w. -]+", "_", (file.filename or "image").replace("\\", "/"))[-100:]
        kept = await asyncio.to_thread(self.store.keep_file, new_id("file"), name, purpose, content)
        return JSONResponse(_file(kept))

    async def all(self, limit: int = 100) -> Response:
        found = await asyncio.to_thread(self.store.files, max(1, min(limit, 1000)))
        data = [_file(one) for one in found]
        return JSONResponse(whole_list(data))

    async def one(self, file_id: str) -> Response:
        return JSONResponse(_file(await self._found(file_id)))

    async def content(self, file_id: str) -> Response:
        found = await self._found(file_id)
        return Response(found.content, media_type=media_of(found.content))

    async def delete(self, file_id: str) -> Response:
        if not await asyncio.to_thread(self.store.forget_file, file_id):
            raise _no_file(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def _found(self, name: str) -> Stored:
        found = await asyncio.to_thread(self.store.file, name)
        if found is None:
            raise _no_file(name)
        return found


def _no_file(name: str) -> Refusal:
    return Refusal(f"there is no file '{short(name)}' here.", status=404, param="file_id")


def _file(stored: Stored) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.size,
        "created_at": int(stored.created),
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": "processed",
    }


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
    from pinxit.serve.speech import caption_of

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


@dataclass(frozen=True)
class Embeddings:
    """/v1/embeddings of images, by data URL: an extension."""

    painters: Painters
    sources: Sources

    async def create(self, request: Request) -> Response:
        fields = await json_of(request, Embed)
        urls = [fields.input] if isinstance(fields.input, str) else fields.input
        choice = self.painters.named(fields.model)
        sent = [
            await asyncio.to_thread(self.sources.of_url, url, f"input[{i}]")
            for i, url in enumerate(urls)
        ]
        by, vectors = await while_connected(request, choice.embed(sent))
        data = [
            {"object": "embedding", "index": i, "embedding": _numbers(vector, fields)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(data), "total_tokens": len(data)}
        return JSONResponse({"object": "list", "data": data, "model": by.name, "usage": usage})


def _numbers(vector: np.ndarray, fields: Embed) -> list[float] | str:
    if fields.encoding_format == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    return [float(number) for number in vector]
