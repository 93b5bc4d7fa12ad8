"""A language model that talks with the user and calls the served runs as tools.

Any server with the chat-completions API works. It gets the conversation and up to three tools
(draw, edit, describe), and is called again with their results until it calls no more of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from pinxit.serve.dialogue.description import describe_image
from pinxit.serve.dialogue.response import ResponseBuilder
from pinxit.serve.errors import ApiError
from pinxit.serve.prompts import answer_language

MAX_ROUNDS = 6  # calls of the language model in one turn
TIMEOUT_SECONDS = 300.0

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


@dataclass(frozen=True)
class LanguageModel:
    """An OpenAI-compatible server, and the model to call there (None: the first it lists)."""

    url: str
    model: str | None = None
    api_key: str = "not-needed"

    async def answer(self, builder: ResponseBuilder) -> None:
        """Answer one turn. Raises ApiError (502) if the language model does not answer."""
        messages = _to_messages(builder)
        tools, tool_choice = _select_tools(builder)
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            model = self.model or await self._first_model(client)
            for _ in range(MAX_ROUNDS):
                body: dict[str, Any] = {"model": model, "messages": messages}
                if tools:
                    body |= {"tools": tools, "tool_choice": tool_choice}
                message = await self._complete_chat(client, body)
                text, calls = message.get("content"), message.get("tool_calls") or []
                if isinstance(text, str) and text.strip():
                    builder.add_text(text)
                if not calls:
                    break
                messages.append({**message, "role": "assistant"})
                for call in calls:
                    messages.append(await _run_tool_call(builder, call))
                tool_choice = "auto"
        if not builder.body["output"]:
            builder.add_text(builder.introduction())
        builder.end_with_text()

    async def _first_model(self, client: httpx.AsyncClient) -> str:
        models = (await self._send(client, "GET", "/models", None)).get("data") or [{}]
        return str(models[0].get("id", "default"))

    async def _complete_chat(
        self, client: httpx.AsyncClient, body: dict[str, Any]
    ) -> dict[str, Any]:
        completion = await self._send(client, "POST", "/chat/completions", body)
        try:
            message = completion["choices"][0]["message"]
        except (KeyError, IndexError, TypeError):
            raise _llm_error("its response has no message") from None
        if not isinstance(message, dict):
            raise _llm_error("its message is not an object")
        return message

    async def _send(
        self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        url = self.url.rstrip("/") + path
        try:
            response = await client.request(method, url, json=body, headers=headers)
            response.raise_for_status()
            content = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _llm_error(type(error).__name__) from None
        if not isinstance(content, dict):
            raise _llm_error("its response is not an object")
        return content


def _llm_error(reason: str) -> ApiError:
    return ApiError(
        f"The language model does not answer ({reason}).",
        status=502,
        code="server_error",
        headers={"x-should-retry": "false"},
    )


def _to_messages(builder: ResponseBuilder) -> list[dict[str, Any]]:
    parsed = builder.parsed
    messages = []
    if parsed.request.instructions:
        messages.append({"role": "system", "content": parsed.request.instructions})
    for role, text in parsed.conversation.messages:
        messages.append({"role": "system" if role == "developer" else role, "content": text})
    if parsed.conversation.image is not None:
        note = "The conversation has an image. edit_image and describe_image refer to it."
        before_last = max(0, len(messages) - 1)
        messages.insert(before_last, {"role": "system", "content": note})
    return messages


def _select_tools(builder: ResponseBuilder) -> tuple[list[dict[str, Any]], str]:
    """Return the tools that the runs support, and the tool choice of the first round."""
    parsed = builder.parsed
    has_image = parsed.conversation.image is not None
    may_generate = parsed.tool is not None and parsed.tool_choice != "none"
    tools = []
    if may_generate:
        tools += [DRAW, EDIT] if has_image else [DRAW]
    if has_image and builder.router.first_supporting("caption") is not None:
        tools.append(DESCRIBE)
    return tools, "required" if may_generate and parsed.tool_choice == "image" else "auto"


async def _run_tool_call(builder: ResponseBuilder, call: dict[str, Any]) -> dict[str, Any]:
    """Run one tool call. The language model gets errors as the tool's result."""
    function = call.get("function") or {}
    try:
        arguments = json.loads(function.get("arguments") or "{}")
        result = await _run_tool(builder, str(function.get("name")), arguments)
    except (ValueError, TypeError, AttributeError):
        result = "error: the arguments are not a JSON object"
    except ApiError as error:
        if error.status == 429:
            raise
        result = f"error: {error}"
    return {"role": "tool", "tool_call_id": str(call.get("id", "")), "content": result}


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
