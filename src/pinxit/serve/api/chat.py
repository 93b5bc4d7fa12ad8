"""/v1/chat/completions, for clients that know only this route."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from pinxit.serve.api.chat_stream import (
    IMAGE_MARKDOWN,
    SEPARATOR,
    ChunkEncoder,
    DeltaConverter,
    cut_at_stop,
    image_markdown,
    stream_chunks,
)
from pinxit.serve.api.sse import byte_stream, run_while_connected
from pinxit.serve.dialogue.event_log import EventLog
from pinxit.serve.dialogue.parse import Conversation, ParsedRequest, parse_request
from pinxit.serve.dialogue.response import AnswerFunction, ResponseBuilder, answer_without_llm
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.inference.registry import ModelRegistry
from pinxit.serve.inference.router import Router
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.pools import read_in_thread, work_on_images
from pinxit.serve.prompts import instructs_edit, requests_image, wants_text
from pinxit.serve.schemas import ChatRequest, ResponsesRequest
from pinxit.serve.store import Store, new_id
from pinxit.serve.validation import parse_json_body, validate

# that /v1/responses does not have, or not by this name
LLM_OPTIONS = {
    "presence_penalty", "frequency_penalty", "logit_bias", "reasoning_effort", "verbosity",
}  # fmt: skip


@dataclass(frozen=True)
class ChatRoutes:
    """Answers a chat as /v1/responses does; a generated image is a Markdown data URL."""

    models: ModelRegistry
    store: Store
    sources: ImageSources
    answer: AnswerFunction = answer_without_llm
    with_llm: bool = False

    async def create(self, request: Request) -> Response:
        fields = await parse_json_body(request, ChatRequest)
        router = self.models.find(fields.model)
        events = EventLog() if fields.stream else None
        preparation = self._prepare(fields, router, events)
        builder = await run_while_connected(request, preparation)
        if events is None:
            await run_while_connected(request, self._build(builder))
            return JSONResponse(_to_completion(fields, builder.body))
        wants_usage = fields.stream_options is not None and fields.stream_options.include_usage
        encoder = ChunkEncoder(_new_record(fields), with_usage=bool(wants_usage))
        converter, work = DeltaConverter(_stop_sequences(fields)), self._build(builder)
        chunks = stream_chunks(encoder, converter, events, work)
        try:  # an answer that fails before it begins is a failed request
            first = await run_while_connected(request, _first(chunks))
        except BaseException:
            await chunks.aclose()  # type: ignore[attr-defined]
            raise
        return byte_stream(_chain(first, chunks))

    async def _prepare(
        self, fields: ChatRequest, router: Router, events: EventLog | None
    ) -> ResponseBuilder:
        parsed = await read_in_thread(self._parse, fields)
        options = fields.model_dump(include=LLM_OPTIONS, exclude_none=True)
        parsed = replace(parsed, stop=tuple(_stop_sequences(fields)), llm_options=options)
        router = self.models.find_tools_model(parsed.tool, router)
        if parsed.mask is not None:
            await work_on_images(router.check_mask, parsed.mask)
        # else it hangs on the prompt's words
        may_generate = self.with_llm or router.only_generates or _has_image_tool(fields.tools)
        if not (may_generate or _wants_image(parsed.conversation)):
            parsed = replace(parsed, tool=None)
        emit = None if events is None else events.append
        builder = ResponseBuilder(parsed, router, emit, with_llm=self.with_llm)
        await builder.prepare()
        return builder

    def _parse(self, fields: ChatRequest) -> ParsedRequest:
        """Parse the chat as the request to /v1/responses that it amounts to."""
        if not self.with_llm:
            _check_tool_choice(fields.tool_choice)
        per_message = [_to_items(message, i) for i, message in enumerate(fields.messages)]
        tools = [_to_function(tool, i) for i, tool in enumerate(fields.tools or [])]
        if not _has_image_tool(tools):
            tools.append({"type": "image_generation"})
        same = {
            "model": fields.model,
            "input": [item for items in per_message for item in items],
            "tools": tools,
            "tool_choice": _to_tool_choice(fields.tool_choice),
            "store": False,
            "seed": fields.seed,
            "text": {"format": fields.response_format} if fields.response_format else None,
            "max_output_tokens": fields.max_completion_tokens or fields.max_tokens,
            "temperature": fields.temperature,
            "top_p": fields.top_p,
            "parallel_tool_calls": fields.parallel_tool_calls,
        }
        try:
            request = validate(same, ResponsesRequest)
            loader = RequestImages(self.sources, self.store)
            return parse_request(request, self.store, loader, with_llm=self.with_llm)
        except ApiError as error:
            raise _name_own_fields(error, [len(items) for items in per_message]) from None

    async def _build(self, builder: ResponseBuilder) -> tuple[str, dict[str, int]]:
        """Build the answer. Return why it ends, and its usage."""
        await self.answer(builder)
        builder.finish()
        return _finish_reason(builder.body), _usage(builder.body)


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for chunk in rest:
            yield chunk
    finally:
        await rest.aclose()  # type: ignore[attr-defined]


def _wants_image(conversation: Conversation) -> bool:
    """Return whether the last prompt asks for an image, or for an edit of the one there is."""
    prompt = conversation.prompt
    if conversation.image is None:
        return requests_image(prompt)
    return instructs_edit(prompt) or (requests_image(prompt) and not wants_text(prompt))


def _check_tool_choice(choice: str | dict[str, Any] | None) -> None:
    """Raises ApiError where the client's own tools are forced: these models call none."""
    if isinstance(choice, dict) or choice == "required":
        message = "'tool_choice' cannot force a tool: these models call none of the client's."
        raise ApiError(message, param="tool_choice", code="unsupported_parameter")
    if choice not in (None, "auto", "none"):
        raise ApiError(f"Invalid tool_choice '{truncate(choice)}'.", param="tool_choice")


def _name_own_fields(error: ApiError, num_items: list[int]) -> ApiError:
    """Return the error with the name of the field that the client has sent.

    `num_items`: how many input items each message has become.
    """
    param = error.param or ""
    if match := re.match(r"input\[(\d+)\](.*)", param):
        first = list(accumulate(num_items))
        message = next((i for i, end in enumerate(first) if int(match[1]) < end), 0)
        error.param = f"messages[{message}]{match[2]}"
    elif param.startswith("input"):
        error.param = "messages" + param.removeprefix("input")
    elif param.startswith("text.format"):
        error.param = "response_format" + param.removeprefix("text.format")
    return error


def _to_function(tool: dict[str, Any], index: int) -> dict[str, Any]:
    """Convert a tool of a chat to one of /v1/responses: its fields stand beside its type."""
    function = tool.get("function")
    if tool.get("type") == "function" and isinstance(function, dict):
        return {**function, "type": "function"}
    if not isinstance(tool.get("type"), str):
        raise ApiError("A tool needs a type.", param=f"tools[{index}].type")
    if tool["type"] == "image_generation" and tool.get("partial_images"):
        message = "A chat has no partial images; /v1/responses has."
        raise ApiError(message, param=f"tools[{index}].partial_images")
    return tool


def _has_image_tool(tools: list[dict[str, Any]] | None) -> bool:
    return any(tool.get("type") == "image_generation" for tool in tools or [])


def _to_tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict):
        return {"type": "function", "name": function.get("name")}
    return choice


def _to_items(message: dict[str, Any], index: int) -> list[dict[str, Any]]:
    """Convert a chat message to input items of /v1/responses."""
    content, role = message.get("content"), message.get("role")
    if role in ("tool", "function"):
        call_id = message.get("tool_call_id")
        content = [_to_part(part) for part in content] if isinstance(content, list) else content
        return [{"type": "function_call_output", "call_id": call_id, "output": content}]
    calls = message.get("tool_calls")
    items = [_to_call(call) for call in calls] if isinstance(calls, list) else []
    if content is None and role == "assistant":
        return items
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        text = "The content must be a string or a list of parts."
        raise ApiError(text, param=f"messages[{index}].content")
    parts = [_to_part(part) for part in content]
    if role == "assistant":
        return [*_split_answer(parts), *items]
    return [{"role": role, "content": parts}, *items]


def _to_part(part: Any) -> Any:
    if not (isinstance(part, dict) and part.get("type") == "image_url"):
        return part
    url = part.get("image_url")
    return {"type": "input_image", "image_url": url.get("url") if isinstance(url, dict) else url}


def _split_answer(parts: list[Any]) -> list[dict[str, Any]]:
    """Return the items of an answer: each image that it shows in Markdown is one of its own."""
    items: list[dict[str, Any]] = []
    texts: list[Any] = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else None
        if not (isinstance(text, str) and IMAGE_MARKDOWN.search(text)):
            texts.append(part)
            continue
        for i, segment in enumerate(IMAGE_MARKDOWN.split(text)):
            if i % 2 == 0:  # a text, else the URL between two texts
                texts += [{"type": "text", "text": segment.strip()}] if segment.strip() else []
                continue
            items += [{"role": "assistant", "content": texts}] if texts else []
            image = {"type": "input_image", "image_url": segment}
            items.append({"role": "assistant", "content": [image]})
            texts = []
    return [*items, {"role": "assistant", "content": texts}] if texts else items


def _to_call(call: object) -> dict[str, Any]:
    record = call if isinstance(call, dict) else {}
    function = record.get("function")
    function = function if isinstance(function, dict) else {}
    fields = {"name": function.get("name"), "arguments": function.get("arguments")}
    return {"type": "function_call", "call_id": record.get("id"), **fields}


def _new_record(fields: ChatRequest) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "created": int(time.time()), "model": fields.model}


def _stop_sequences(fields: ChatRequest) -> list[str]:
    return [fields.stop] if isinstance(fields.stop, str) else fields.stop or []


def _finish_reason(body: dict[str, Any]) -> str:
    if any(item["type"] == "function_call" for item in body["output"]):
        return "tool_calls"
    return "stop" if body["incomplete_details"] is None else "length"


def _usage(body: dict[str, Any]) -> dict[str, int]:
    usage = body["usage"]
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }


def _to_completion(fields: ChatRequest, body: dict[str, Any]) -> dict[str, Any]:
    calls = [_to_tool_call(item) for item in body["output"] if item["type"] == "function_call"]
    shown = [item for item in body["output"] if item["type"] != "function_call"]
    text = SEPARATOR.join(_to_text(item, _stop_sequences(fields)) for item in shown)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message |= {"content": text or None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "logprobs": None}
    choice["finish_reason"] = _finish_reason(body)
    record = {**_new_record(fields), "object": "chat.completion"}
    return {**record, "choices": [choice], "usage": _usage(body)}


def _to_tool_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _to_text(item: dict[str, Any], stop: list[str]) -> str:
    """Return a message's text up to the first of the stop sequences, or an image in Markdown."""
    if item["type"] != "message":
        return image_markdown(item)
    return cut_at_stop("".join(part["text"] for part in item["content"]), stop)
