"""The client of a language model's server. What it sends is checked and bounded.

Any server with the chat-completions API works, with or without streams of events. Its answers are
not ours: they may be of any size and shape, and then they are an error (502), not a fault here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

from pinxit.serve.errors import ApiError

MAX_REPLY_BYTES = 4 * 2**20
DATA, DONE = b"data:", b"[DONE]"  # of a stream's line; a space may stand between them


class FunctionPart(BaseModel):
    """The name and the arguments of a call, or parts of them."""

    name: str | None = None
    arguments: str | None = None


class CallPart(BaseModel):
    """A tool call, or a part of one: the parts of a call have the same index."""

    index: int | None = Field(None, ge=0, le=1000)
    id: str | None = None
    function: FunctionPart = FunctionPart()


class TextPart(BaseModel):
    """A part of a content that is a list."""

    text: str = ""


class Usage(BaseModel):
    """Tokens of a completion."""

    prompt_tokens: int | None = Field(None, ge=0, le=2**31)
    completion_tokens: int | None = Field(None, ge=0, le=2**31)


class MessagePart(BaseModel):
    """A message, or a part of one."""

    content: str | list[TextPart] | None = None
    tool_calls: list[CallPart] | None = None
    finish_reason: str | None = None  # of the choice: why the message ends with this part
    usage: Usage | None = None  # of the completion, with or after its last part

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Choice(BaseModel):
    """An answer: `message` of a whole one, `delta` of a stream's."""

    message: MessagePart | None = None
    delta: MessagePart | None = None
    finish_reason: str | None = None


class Completion(BaseModel):
    """A completion, or an event of a stream of one; its last event may have no choice."""

    choices: list[Choice] = []
    error: Any = None
    usage: Usage | None = None


class ModelRecord(BaseModel):
    """A model that a server lists."""

    id: str


class ModelList(BaseModel):
    """What a server lists."""

    data: list[ModelRecord] = Field(min_length=1)


M = TypeVar("M", bound=BaseModel)


@dataclass
class Call:
    """A tool call of the language model."""

    id: str
    name: str = ""
    arguments: str = ""


@dataclass
class Reply:
    """A message of the language model, as far as it has come."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage = field(default_factory=lambda: Usage.model_validate({}))
    num_parts: int = 0

    @property
    def num_tokens(self) -> int:
        """The tokens of the message: as its server counts them, else parts of it or words."""
        if self.usage.completion_tokens is not None:
            return self.usage.completion_tokens
        texts = [self.text, *(f"{call.name} {call.arguments}" for call in self.calls)]
        return max(self.num_parts, sum(len(text.split()) for text in texts))

    def add(self, part: MessagePart) -> None:
        self.text += part.text
        self.usage = part.usage or self.usage
        self.num_parts += bool(part.text or part.tool_calls)
        self.finish_reason = part.finish_reason or self.finish_reason
        for call in part.tool_calls or []:
            is_next = call.id is not None and (not self.calls or self.calls[-1].id != call.id)
            last = max(0, len(self.calls) - 1)
            index = call.index if call.index is not None else len(self.calls) if is_next else last
            while len(self.calls) <= index:
                self.calls.append(Call(f"call_{len(self.calls)}"))
            known = self.calls[index]
            known.id = call.id or known.id
            known.name += call.function.name or ""
            known.arguments += call.function.arguments or ""

    def to_message(self) -> dict[str, Any]:
        """Return the message for the next request."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.calls
            ]
        return message


class Upstream:
    """Requests to a language model's server. They raise ApiError (502) if it does not answer."""

    def __init__(self, client: httpx.AsyncClient, url: str, api_key: str) -> None:
        self.client, self.url = client, url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {api_key}"}

    async def first_model(self) -> str:
        """Return the first model that the server lists."""
        content = b"".join([chunk async for chunk in self._send("GET", "/models", None)])
        return parse(content, ModelList).data[0].id

    async def complete(self, body: dict[str, Any]) -> AsyncIterator[MessagePart]:
        """Yield the parts of a message as they come; all of it if the server does not stream.

        Raises ApiError (502) for a stream that ends before its message does.
        """
        chunks = self._send("POST", "/chat/completions", {**body, "stream": True})
        buffer, is_stream, is_ended, count = b"", None, False, 0
        async for chunk in chunks:
            buffer += chunk
            if is_stream is None and buffer.strip():
                is_stream = not buffer.lstrip().startswith(b"{")
            if not is_stream:
                continue
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                is_ended = is_ended or _is_done(line)
                for part in _parse_line(line):
                    is_ended = is_ended or part.finish_reason is not None
                    count += part.usage is None
                    yield part
        is_ended = is_ended or _is_done(buffer)
        for part in _parse_line(buffer) if is_stream else _parse_whole(buffer):
            is_ended = is_ended or part.finish_reason is not None
            count += part.usage is None
            yield part
        if not count:
            raise llm_error("its response has no message")
        if is_stream and not is_ended:
            raise llm_error("its response ended early")

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> AsyncIterator[bytes]:
        size = 0
        try:
            async with self.client.stream(
                method, self.url + path, json=body, headers=self.headers
            ) as response:
                response.raise_for_status()
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > MAX_REPLY_BYTES:
                        raise llm_error(f"its response is larger than {MAX_REPLY_BYTES >> 20} MiB")
                    yield chunk
        except httpx.HTTPStatusError as error:
            raise llm_error(f"status {error.response.status_code}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise llm_error(type(error).__name__) from None


def _parse_line(line: bytes) -> list[MessagePart]:
    """Return the message of a stream's line; `[DONE]`, comments and names have none."""
    line = line.strip()
    if not line.startswith(DATA) or _is_done(line):
        return []
    return _parse_whole(line.removeprefix(DATA))


def _is_done(line: bytes) -> bool:
    line = line.strip()
    return line.startswith(DATA) and line.removeprefix(DATA).strip() == DONE


def _parse_whole(content: bytes) -> list[MessagePart]:
    completion = parse(content, Completion)
    if completion.error and not completion.choices:
        raise llm_error("it reports an error")
    parts = []
    for choice in completion.choices[:1]:
        part = choice.message or choice.delta
        if part is None:
            continue
        if choice.message is not None:  # each call is whole, whatever its id
            for index, call in enumerate(part.tool_calls or []):
                call.index = index
        parts.append(part.model_copy(update={"finish_reason": choice.finish_reason}))
    if completion.usage is not None:
        parts.append(MessagePart(usage=completion.usage))
    return parts


def parse(content: bytes, schema: type[M]) -> M:
    """Parse an answer. Raises ApiError (502) if it is not of this schema."""
    try:
        data = json.loads(content)
        json.dumps(data, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return schema.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise llm_error(f"its response is malformed at '{where}'") from None
    except (ValueError, RecursionError):
        raise llm_error("its response is not JSON") from None


def llm_error(reason: str) -> ApiError:
    """502: the language model does not answer, or not in the format of its API."""
    return ApiError(
        f"The language model does not answer ({reason}).",
        status=502,
        code="server_error",
        headers={"x-should-retry": "false"},
    )
