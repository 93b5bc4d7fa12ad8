"""Answers of /v1/responses, as events: a body that grows, each change told as it happens.

One way for both: an answer that is not streamed is the last event's.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np

from pinxit.serve.dialogue.parse import Turn
from pinxit.serve.errors import Refusal
from pinxit.serve.inference.progress import Growth, watching
from pinxit.serve.inference.requests import Ask, Painted
from pinxit.serve.inference.router import Choice, stages
from pinxit.serve.media.outputs import Wanted, how_of, size_left_open
from pinxit.serve.prompts import language_of
from pinxit.serve.schemas import Tool
from pinxit.serve.store import new_id

Event = dict[str, Any]
Emit = Callable[[Event], None]


class Answer:
    """A response while it is made. `emit` gets each event; numbers run on by themselves."""

    def __init__(self, turn: Turn, choice: Choice, emit: Emit) -> None:
        self.turn, self.choice, self._emit = turn, choice, emit
        self.sequence = 0
        request = turn.request
        self.body: dict[str, Any] = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": request.instructions,
            "max_output_tokens": None,
            "metadata": request.metadata or {},
            "model": request.model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": request.previous_response_id,
            "store": request.store is not False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": _echoed(request.tool_choice),
            "tools": [_tool_echoed(tool) for tool in request.tools or []],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
            "user": request.user,
        }

    def emit(self, kind: str, **fields: Any) -> None:
        self._emit({"type": kind, "sequence_number": self.sequence, **fields})
        self.sequence += 1

    def begin(self) -> None:
        self.emit("response.created", response=dict(self.body))
        self.emit("response.in_progress", response=dict(self.body))

    def finish(self) -> None:
        """The answer is whole. The last event is `complete`'s, once it is kept."""
        self.body.update(status="completed", completed_at=int(time.time()), usage=self._usage())

    def complete(self) -> None:
        self.emit("response.completed", response=self.body)

    def fail(self, code: str, message: str) -> None:
        self.body.update(status="failed", error={"code": code, "message": message})
        self.emit("response.failed", response=self.body)

    def cancel(self) -> None:
        self.body.update(status="cancelled", incomplete_details={"reason": "cancelled"})
        self.emit("response.incomplete", response=self.body)

    def _usage(self) -> dict[str, Any]:
        """Tokens are words, and of images the codes or steps that they took."""
        read = sum(len(said.text.split()) for said in self.turn.talk.texts)
        texts = [part["text"] for item in self.body["output"] for part in item.get("content", [])]
        images = len(self.body["output"]) - len(texts)
        written = sum(len(text.split()) for text in texts) + images
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        }

    # -- items ----------------------------------------------------------------------------------

    async def paint(self, text: str | None = None, edits: bool | None = None) -> Painted:
        """An item with an image, told from its first stage to the last."""
        tool = self.turn.tool or Tool(type="image_generation")
        source = self.turn.source if self.turn.tool else self.turn.talk.image
        source = None if edits is False else source
        ask = self._asked(text, tool, source)
        wanted = Wanted.of(tool, size_left_open(source, ask.mask))
        index = len(self.body["output"])
        name, action = new_id("ig"), "generate" if source is None else "edit"
        item: dict[str, Any] = {
            "id": name,
            "type": "image_generation_call",
            "status": "in_progress",
            "action": action,
            "result": None,
        }
        at = {"output_index": index, "item_id": name}
        self.emit("response.output_item.added", output_index=index, item=dict(item))
        self.emit("response.image_generation_call.in_progress", **at)
        self.emit("response.image_generation_call.generating", **at)
        quality = tool.quality if tool.quality in ("low", "medium", "high") else "high"

        async def shown(number: int, images: list[np.ndarray]) -> None:
            file = await wanted.file(images[0], ask)
            self.emit(
                "response.image_generation_call.partial_image",
                **at,
                partial_image_index=number,
                partial_image_b64=file.base64,
                quality=quality,
                **file.facts,
            )

        if tool.partial_images:
            growth = Growth(stages(self.choice, ask), tool.partial_images)
            painted = await watching(growth, self.choice.paint(ask, growth), shown)
        else:
            painted = await self.choice.paint(ask)
        file = await wanted.file(painted.pixels[0], ask)
        item.update(
            status="completed",
            action=painted.action,
            quality=quality,
            revised_prompt=painted.said,
            result=file.base64,
            seed=ask.seed,  # these three are ours: what repeats the image, and how it came
            painted_by=painted.by.name,
            resampled_from=file.resampled_from,
            **file.facts,
        )
        self.body["output"].append(item)
        self.emit("response.image_generation_call.completed", **at)
        self.emit("response.output_item.done", output_index=index, item=dict(item))
        return painted

    def _asked(self, text: str | None, tool: Tool, source: Any) -> Ask:
        talk = self.turn.talk
        text = talk.prompt if text is None else text
        if source is not None and self.choice.able("edit") is None and self.choice.able("draw"):
            text = ", ".join(talk.prompts) or text  # a model that only draws: all that was asked
        mask = self.turn.mask if source is not None else None
        return Ask(text, 1, self.turn.seed, source, mask, how_of(tool))

    def say(self, text: str) -> None:
        """An item of words, told word by word."""
        index, name = len(self.body["output"]), new_id("msg")
        message = {"id": name, "type": "message", "role": "assistant"}
        part = {"type": "output_text", "text": "", "annotations": []}
        at = {"output_index": index, "content_index": 0, "item_id": name}
        self.emit(
            "response.output_item.added",
            output_index=index,
            item={**message, "status": "in_progress", "content": []},
        )
        self.emit("response.content_part.added", **at, part=part)
        for piece in re.findall(r"\S+\s*|\s+", text):
            self.emit("response.output_text.delta", **at, delta=piece, logprobs=[])
        part = {**part, "text": text}
        self.emit("response.output_text.done", **at, text=text, logprobs=[])
        self.emit("response.content_part.done", **at, part=part)
        item = {**message, "status": "completed", "content": [part]}
        self.body["output"].append(item)
        self.emit("response.output_item.done", output_index=index, item=item)

    async def describe(self) -> str:
        """The conversation's image in words; where no run here has any, a line that says so."""
        talk = self.turn.talk
        if talk.image is None:
            return self.about()
        text = await self.choice.describe(talk.image, language_of(talk.prompt))
        if text is not None:
            return text
        names = ", ".join(one.name for one in self.choice.among)
        return (
            f"I see an image of {talk.image.width} x {talk.image.height} pixels, and no model "
            f"here puts images into words ({names})."
        )

    def about(self) -> str:
        """What can be done here, for a request with nothing to do."""
        cans = sorted({ability for one in self.choice.among for ability in one.abilities})
        names = ", ".join(one.name for one in self.choice.among)
        return (
            f"Hello. I paint, with {names}: {', '.join(cans)}. "
            "Offer the image_generation tool to get an image, or send one to have it described."
        )


async def plain(answer: Answer) -> None:
    """Without a language model: the text is the caption, and the runs' abilities decide."""
    if answer.turn.paints:
        await answer.paint()
    else:
        answer.say(await answer.describe())


async def events(
    answer: Answer,
    queue: asyncio.Queue[Event | None],
    work: Callable[[Answer], Awaitable[None]],
    keep: Callable[[Answer], Awaitable[None]],
) -> AsyncIterator[Event]:
    """The events of an answer as they come; whoever stops listening stops the work."""

    async def done() -> None:
        try:
            answer.begin()
            await work(answer)
            answer.finish()
            await keep(answer)
            answer.complete()
        except Refusal as error:
            answer.fail(error.code or "server_error", str(error))
        except asyncio.CancelledError:
            answer.cancel()
        except Exception:
            answer.fail("server_error", "the image could not be made.")
            raise
        finally:
            queue.put_nowait(None)

    task = asyncio.ensure_future(done())
    RUNNING[answer.body["id"]] = task
    try:
        while (event := await queue.get()) is not None:
            yield event
    finally:
        RUNNING.pop(answer.body["id"], None)
        task.cancel()


RUNNING: dict[str, asyncio.Future[None]] = {}  # by the response's id: what `cancel` can stop


def _echoed(choice: Any) -> Any:
    return "auto" if choice is None else choice


def _tool_echoed(tool: dict[str, Any]) -> dict[str, Any]:
    known = Tool.model_validate(tool).model_dump(exclude_none=True)
    return {**known, "type": "image_generation"}
