"""The events of a response: kept while it is built, for any number of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

Event = dict[str, Any]

# of a response that has ended, by its status
LAST_EVENTS = {
    "completed": "completed", "failed": "failed", "incomplete": "incomplete",
    "cancelled": "incomplete",
}  # fmt: skip


class EventLog:
    """Events in order; a reader gets all of them, also those before it came."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_ended = False
        self._changed = asyncio.Event()

    def append(self, event: Event) -> None:
        self.events.append(event)
        self._wake_readers()

    def end(self) -> None:
        self.is_ended = True
        self._wake_readers()

    def _wake_readers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, after: int = -1) -> AsyncIterator[Event]:
        """Yield the events with a number above `after`, until the log ends."""
        index = max(0, after + 1)
        while True:
            while index < len(self.events):
                yield self.events[index]
                index += 1
            if self.is_ended:
                return
            await self._changed.wait()


def replay_events(body: dict[str, Any]) -> Iterator[Event]:
    """Yield the events of a response that has ended; each output item comes whole.

    Their numbers are not those of its first stream, which had partial images, and words one by one.
    """
    number = 0

    def event(event_type: str, **fields: Any) -> Event:
        nonlocal number
        number += 1
        return {"type": event_type, "sequence_number": number - 1, **fields}

    started = {**body, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=started)
    yield event("response.in_progress", response=started)
    for index, item in enumerate(body["output"]):
        empty = {"result": None} if item["type"] == "image_generation_call" else {"content": []}
        bare = {**item, "status": "in_progress", **empty}
        yield event("response.output_item.added", output_index=index, item=bare)
        for number_of_part, part in enumerate(item.get("content", [])):
            at = {"output_index": index, "content_index": number_of_part, "item_id": item["id"]}
            yield event("response.content_part.added", **at, part={**part, "text": ""})
            text = {"delta": part["text"], "logprobs": []}
            yield event("response.output_text.delta", **at, **text)
            yield event("response.output_text.done", **at, text=part["text"], logprobs=[])
            yield event("response.content_part.done", **at, part=part)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event(f"response.{LAST_EVENTS[body['status']]}", response=body)
