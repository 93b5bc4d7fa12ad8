"""A language model that talks with the user and calls our images as tools.

Any server of the chat-completions API will do. It is given the conversation and up to three tools
(draw, edit, describe), and is asked again with what each gave, until it has said its say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from pinxit.serve.dialogue.response import Answer
from pinxit.serve.errors import Refusal
from pinxit.serve.prompts import language_of

ROUNDS = 6  # answers of the language model in one turn
SECONDS = 300.0

_TEXT = {"type": "string"}


def _tool(name: str, says: str, **fields: str) -> dict[str, Any]:
    properties = {field: {**_TEXT, "description": text} for field, text in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": name, "description": says, "parameters": schema},
    }


DRAW = _tool(
    "draw_image",
    "Paint a new image; the user sees it.",
    caption="what the image is to show, in a few plain words",
)
EDIT = _tool(
    "edit_image",
    "Change the last image of the conversation; the user sees the new one.",
    instruction="what is to be changed, in a few plain words",
)
DESCRIBE = _tool(
    "describe_image",
    "What the last image of the conversation shows, in words.",
    language="the language of the words, as en or fr",
)


@dataclass(frozen=True)
class LanguageModel:
    """An OpenAI-compatible server, and the model to ask there."""

    url: str
    model: str | None = None
    key: str = "not-needed"

    async def answer(self, answer: Answer) -> None:
        """One turn. Raises Refusal (502) where the language model does not answer."""
        messages = self._messages(answer)
        tools, forced = _offered(answer)
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
            name = self.model or await self._first_model(client)
            for _ in range(ROUNDS):
                body: dict[str, Any] = {"model": name, "messages": messages}
                if tools:
                    body["tools"] = tools
                    body["tool_choice"] = forced or "auto"
                message = await self._asked(client, body)
                calls = message.get("tool_calls") or []
                if isinstance(message.get("content"), str) and message["content"].strip():
                    answer.say(message["content"])
                if not calls:
                    break
                messages.append({**message, "role": "assistant"})
                for call in calls:
                    messages.append(await _called(answer, call))
                forced = None
        if not answer.body["output"]:
            answer.say(answer.about())

    def _messages(self, answer: Answer) -> list[dict[str, Any]]:
        turn = answer.turn
        told = []
        if turn.request.instructions:
            told.append({"role": "system", "content": turn.request.instructions})
        told += [
            {"role": "system" if said.role == "developer" else said.role, "content": said.text}
            for said in turn.talk.texts
        ]
        if turn.talk.image is not None:
            note = "The conversation has an image: edit_image and describe_image are of it."
            told.insert(len(told) - 1 if told else 0, {"role": "system", "content": note})
        return told

    async def _first_model(self, client: httpx.AsyncClient) -> str:
        found = (await self._got(client, "GET", "/models", None)).get("data") or [{}]
        return str(found[0].get("id", "default"))

    async def _asked(self, client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
        found = await self._got(client, "POST", "/chat/completions", body)
        try:
            message = found["choices"][0]["message"]
        except (KeyError, IndexError, TypeError):
            raise _unfit("its answer has no message") from None
        if not isinstance(message, dict):
            raise _unfit("its message is no object")
        return message

    async def _got(
        self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.url.rstrip("/") + path
        try:
            found = await client.request(method, url, json=body, headers=headers)
            found.raise_for_status()
            record = found.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _unfit(type(error).__name__) from None
        if not isinstance(record, dict):
            raise _unfit("its answer is no object")
        return record


def _unfit(why: str) -> Refusal:
    return Refusal(
        f"the language model does not answer as it should ({why}).",
        status=502,
        code="server_error",
        headers={"x-should-retry": "false"},
    )


def _offered(answer: Answer) -> tuple[list[dict[str, Any]], Any]:
    """The tools of this turn, and the one that must be called, if any."""
    turn, choice = answer.turn, answer.choice
    image = turn.talk.image is not None
    paints = turn.tool is not None and turn.choice != "none"
    tools = [DRAW] * paints + [EDIT] * (paints and image)
    tools += [DESCRIBE] * (image and choice.able("caption") is not None)
    if paints and turn.choice == "image":
        return tools, "required"
    return tools, None


async def _called(answer: Answer, call: dict[str, Any]) -> dict[str, Any]:
    """One tool call done; what could not be is told to the language model in words."""
    function = call.get("function") or {}
    try:
        given = json.loads(function.get("arguments") or "{}")
        said = await _done(answer, str(function.get("name")), given)
    except (ValueError, TypeError, AttributeError):
        said = "the arguments are no JSON object"
    except Refusal as error:
        if error.status == 429:
            raise
        said = f"this could not be done: {error}"
    return {"role": "tool", "tool_call_id": str(call.get("id", "")), "content": said}


async def _done(answer: Answer, name: str, given: dict[str, Any]) -> str:
    prompt = answer.turn.talk.prompt
    if name == "draw_image":
        painted = await answer.paint(str(given.get("caption") or prompt), edits=False)
        return f"painted, and shown to the user: {painted.said}"
    if name == "edit_image":
        painted = await answer.paint(str(given.get("instruction") or prompt))
        return f"changed, and shown to the user: {painted.said}"
    if name == "describe_image" and answer.turn.talk.image is not None:
        language = str(given.get("language") or language_of(prompt))
        return await answer.choice.describe(answer.turn.talk.image, language) or "unknown"
    return f"there is no tool '{name}'"
