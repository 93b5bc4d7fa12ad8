"""A language model that talks with the user and calls the served runs as tools.

Any server with the chat-completions API works. It gets the conversation, up to three tools of ours
(draw, edit, describe) and the client's own functions. It is called again with the results of our
tools until it calls no more of them; its calls of the client's functions go to the client.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import httpx

from pinxit.serve.dialogue.description import describe_image
from pinxit.serve.dialogue.forwarding import NO_ARGUMENTS, forward_message
from pinxit.serve.dialogue.parse import ParsedRequest
from pinxit.serve.dialogue.response import ResponseBuilder
from pinxit.serve.dialogue.upstream import Call, Upstream, llm_error
from pinxit.serve.errors import ApiError
from pinxit.serve.media.outputs import media_type
from pinxit.serve.prompts import answer_language

MAX_ROUNDS = 6  # calls of the language model in one turn
MAX_CALLS = 8  # of our tools in one turn
TURN_SECONDS = 300.0

LIMIT_REACHED = "error: no more tools may be called in this turn; answer in text"
# fields of a chat that are not sent: this server applies them, or they are hints to a service
NOT_SENT = frozenset({
    "model", "n", "stream", "stream_options", "modalities", "prediction", "service_tier",
    "moderation", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "metadata", "user",
})  # fmt: skip

_STRING = {"type": "string"}


def _define_tool(name: str, description: str, **fields: str) -> dict[str, Any]:
    properties = {field: {**_STRING, "description": text} for field, text in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": schema},
    }


DRAW = _define_tool(
    "draw_image",
    "Generate a new image. The user sees it.",
    caption="what the image shows, in a few plain words",
)
EDIT = _define_tool(
    "edit_image",
    "Edit the last image of the conversation. The user sees the result.",
    instruction="what to change, in a few plain words",
)
DESCRIBE = _define_tool(
    "describe_image",
    "Return a caption of the last image of the conversation.",
    language="the language of the caption, such as en or fr",
)


OWN_TOOLS = {tool["function"]["name"] for tool in (DRAW, EDIT, DESCRIBE)}


@dataclass(frozen=True)
class LanguageModel:
    """An OpenAI-compatible server, and the model to call there (None: the first it lists)."""

    url: str
    model: str | None = None
    api_key: str = "not-needed"
    sees_images: bool = False  # it takes the images of the conversation

    async def answer(self, builder: ResponseBuilder) -> None:
        """Answer one turn. Raises ApiError (502) if the language model does not answer."""
        try:
            async with (
                asyncio.timeout(TURN_SECONDS),
                httpx.AsyncClient(timeout=TURN_SECONDS, trust_env=False) as client,
            ):
                await self._answer(builder, Upstream(client, self.url, self.api_key))
        except TimeoutError:
            raise llm_error(f"it took more than {TURN_SECONDS:.0f} s") from None

    async def _answer(self, builder: ResponseBuilder, upstream: Upstream) -> None:
        body = {
            "model": self.model or await upstream.first_model(),
            "messages": to_messages(builder.parsed, sees_images=self.sees_images),
            **_options(builder),
        }
        num_calls, theirs_by_name = 0, _client_functions(builder)
        for _ in range(MAX_ROUNDS):
            if not _limit_tokens(builder, body):
                break
            parts = upstream.complete(body)
            reply, num_forwarded = await forward_message(builder, parts, theirs_by_name)
            builder.count_tokens(reply.usage.prompt_tokens, reply.num_tokens)
            if reply.finish_reason == "length":
                builder.body["incomplete_details"] = {"reason": "max_output_tokens"}
            own = [call for call in reply.calls if call.name not in theirs_by_name]
            num_calls += len(own)
            if num_calls > MAX_CALLS:
                raise llm_error(f"it called more than {MAX_CALLS} tools")
            body["messages"].append(reply.to_message())
            num_allowed = builder.parsed.request.max_tool_calls or MAX_CALLS
            for i, call in enumerate(own, num_calls - len(own)):
                is_allowed = i < num_allowed
                result = await _run_tool_call(builder, call) if is_allowed else LIMIT_REACHED
                body["messages"].append(_to_tool_message(call, result))
            theirs = [call for call in reply.calls if call not in own]
            for call in reply.calls[num_forwarded:]:
                if call in theirs:
                    builder.add_function_call(call.id, call.name, call.arguments or NO_ARGUMENTS)
            if theirs or not own:
                break
            if "tool_choice" in body:
                body["tool_choice"] = "auto"
        if not builder.body["output"]:
            builder.add_text(builder.introduction())
        builder.end_with_text()


def _limit_tokens(builder: ResponseBuilder, body: dict[str, Any]) -> bool:
    """Ask for what is left of the tokens of all rounds. Return False if there is nothing left."""
    limit = builder.parsed.request.max_output_tokens
    if limit is None:
        return True
    body["max_tokens"] = limit - builder.num_tokens
    if body["max_tokens"] > 0:
        return True
    builder.body["incomplete_details"] = {"reason": "max_output_tokens"}
    return False


def _client_functions(builder: ResponseBuilder) -> set[str]:
    """Return the names of the client's functions. Raises ApiError for one of ours."""
    names = {str(tool["name"]) for tool in builder.parsed.functions}
    if taken := names & OWN_TOOLS:
        message = f"The function name '{min(taken)}' is that of a tool of this server."
        raise ApiError(message, param="tools")
    return names


def _options(builder: ResponseBuilder) -> dict[str, Any]:
    """Return the fields of a request beside its messages: tools, and what the client asks for."""
    parsed, request = builder.parsed, builder.parsed.request
    own = _own_tools(builder)
    names = ("name", "description", "parameters", "strict")
    theirs = [
        {"type": "function", "function": {k: tool[k] for k in names if tool.get(k) is not None}}
        for tool in parsed.functions
    ]
    options: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(parsed.stop) or None,
        "stream_options": {"include_usage": True} if request.max_output_tokens else None,
        "parallel_tool_calls": request.parallel_tool_calls if own or theirs else None,
        "response_format": _response_format(request.text and request.text.format),
        "seed": request.seed,
        "verbosity": request.text and request.text.verbosity,
        "reasoning_effort": (request.reasoning or {}).get("effort"),
        **parsed.llm_options,
    }
    if own or theirs:
        options |= {"tools": [*own, *theirs], "tool_choice": _tool_choice(parsed, bool(own))}
    return {name: value for name, value in options.items() if value is not None}


def _response_format(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the format of a text as the chat-completions API has it."""
    if options is None or options.get("type") == "text":
        return None
    if options.get("type") != "json_schema" or "json_schema" in options:
        return options
    inner = {name: value for name, value in options.items() if name != "type"}
    return {"type": "json_schema", "json_schema": inner}


def _own_tools(builder: ResponseBuilder) -> list[dict[str, Any]]:
    """Return the tools that the runs support and the client allows."""
    parsed = builder.parsed
    has_image = parsed.conversation.image is not None
    tools = []
    if parsed.tool is not None and parsed.tool_choice != "none":
        tools += [DRAW, EDIT] if has_image else [DRAW]
    can_caption = builder.router.first_supporting("caption") is not None
    if has_image and can_caption and parsed.tool_choice != "none":
        tools.append(DESCRIBE)
    return tools


def _tool_choice(parsed: ParsedRequest, has_own: bool) -> Any:
    """Return the tool choice of the first round."""
    if parsed.forced_function is not None:
        return {"type": "function", "function": {"name": parsed.forced_function}}
    if parsed.tool_choice == "required":
        return "required"
    return "required" if parsed.tool_choice == "image" and has_own else "auto"


# -- messages --------------------------------------------------------------------------------------


def to_messages(parsed: ParsedRequest, *, sees_images: bool = False) -> list[dict[str, Any]]:
    """Return the conversation as the chat-completions API has it.

    The answer of a tool must follow its call; any other becomes a system message.
    """
    messages: list[dict[str, Any]] = []
    calls: set[str] = set()
    if parsed.request.instructions:
        messages.append({"role": "system", "content": parsed.request.instructions})
    for message in parsed.conversation.messages:
        if message.call is not None:
            calls.add(message.call["id"])
            _append_call(messages, message.call)
        elif message.role == "tool" and message.call_id in calls:
            own = {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
            messages.append(own)
        else:
            role = "system" if message.role in ("developer", "tool") else message.role
            messages.append({"role": role, "content": message.text})
    if parsed.conversation.images:
        _add_images(messages, parsed, sees_images)
    return messages


def _append_call(messages: list[dict[str, Any]], call: dict[str, str]) -> None:
    """Append a call; calls that follow each other are of one message."""
    function = {"name": call["name"], "arguments": call["arguments"]}
    record = {"id": call["id"], "type": "function", "function": function}
    if messages and "tool_calls" in messages[-1]:
        messages[-1]["tool_calls"].append(record)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [record]})


def _add_images(messages: list[dict[str, Any]], parsed: ParsedRequest, sees_images: bool) -> None:
    """Add the images to the user's last message, or a note that there are some."""
    users = [i for i, message in enumerate(messages) if message["role"] == "user"]
    if not sees_images:
        note = "The conversation has an image. edit_image and describe_image refer to it."
        position = users[-1] if users else len(messages)
        messages.insert(position, {"role": "system", "content": note})
        return
    if not users:
        messages.append({"role": "user", "content": ""})
        users = [len(messages) - 1]
    parts: list[dict[str, Any]] = [{"type": "text", "text": messages[users[-1]]["content"]}]
    for image in parsed.conversation.images:
        data = base64.b64encode(image.content).decode()
        url = f"data:{media_type(image.content)};base64,{data}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    messages[users[-1]] = {
        "role": "user",
        "content": [part for part in parts if part.get("text", True)],
    }


# -- our tools -------------------------------------------------------------------------------------


def _to_tool_message(call: Call, result: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call.id, "content": result}


async def _run_tool_call(builder: ResponseBuilder, call: Call) -> str:
    """Run one tool call. The language model gets errors as the tool's result."""
    try:
        arguments = json.loads(call.arguments or "{}")
        if not isinstance(arguments, dict):
            raise ValueError("not an object")
        return await _run_tool(builder, call.name, arguments)
    except (ValueError, RecursionError):
        return "error: the arguments are not a JSON object"
    except ApiError as error:
        if error.status == 429:
            raise
        return f"error: {error}"


async def _run_tool(builder: ResponseBuilder, name: str, arguments: dict[str, Any]) -> str:
    conversation = builder.parsed.conversation
    prompt = conversation.prompt
    if name == "draw_image":
        result = await builder.add_image(str(arguments.get("caption") or prompt), new=True)
        return f"Shown to the user. {describe_image(result)}"
    if name == "edit_image":
        result = await builder.add_image(str(arguments.get("instruction") or prompt))
        return f"Shown to the user. {describe_image(result)}"
    if name == "describe_image" and conversation.image is not None:
        language = str(arguments.get("language") or answer_language(prompt))
        return await builder.router.caption(conversation.image, language) or "unknown"
    return f"error: there is no tool '{name}'"
