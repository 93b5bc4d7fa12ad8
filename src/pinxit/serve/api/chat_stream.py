"""The stream of a chat: the events of a response as chunks, while they come."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any

from pinxit.serve.dialogue.event_log import Event, EventLog
from pinxit.serve.errors import ApiError, internal_error
from pinxit.serve.logs import log_fault

DONE = b"data: [DONE]\n\n"
SEPARATOR = "\n\n"  # between the items of an answer


class StopFilter:
    """Passes a text on up to the first stop sequence, in whatever parts it comes."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self.sequences = [sequence for sequence in sequences if sequence]
        self.is_stopped = False
        self._held = ""  # the end of the text, which may be the beginning of a sequence

    def add(self, text: str) -> str:
        """Return what can be passed on after a further part."""
        if self.is_stopped or not self.sequences:
            return "" if self.is_stopped else text
        for character in text:
            self._held += character
            ends = [s for s in self.sequences if self._held.endswith(s)]
            if ends:
                self.is_stopped = True
                return self.flush()[: -max(map(len, ends))]
        most = min(len(self._held), max(map(len, self.sequences)) - 1)
        beginnings = (k for k in range(most, 0, -1) if self._may_begin(self._held[-k:]))
        split = len(self._held) - next(beginnings, 0)
        passed, self._held = self._held[:split], self._held[split:]
        return passed

    def flush(self) -> str:
        """Return what was held back: the text has ended."""
        held, self._held = self._held, ""
        return held

    def _may_begin(self, end: str) -> bool:
        return any(sequence.startswith(end) for sequence in self.sequences)


def cut_at_stop(text: str, sequences: Sequence[str]) -> str:
    """Return a text up to the first stop sequence that is complete."""
    stop = StopFilter(sequences)
    return stop.add(text) + stop.flush()


IMAGE_MARKDOWN = re.compile(r"!\[image\]\((data:image/[a-z]+;base64,[A-Za-z0-9+/=]+)\)")


def image_markdown(item: dict[str, Any]) -> str:
    """Return a generated image as a chat shows it."""
    return f"![image](data:image/{item['output_format']};base64,{item['result']})"


class DeltaConverter:
    """Converts the events of a response to the deltas of a chat."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop = stop
        self._filter = StopFilter(stop)
        self._num_shown = 0  # messages and images
        self._call_index = -1

    def convert(self, event: Event) -> Iterator[dict[str, Any]]:
        """Yield the deltas of an event."""
        kind, item = event["type"], event.get("item", {})
        if kind == "response.output_item.added" and item["type"] == "message":
            self._filter = StopFilter(self.stop)
            yield from self._content(self._separator())
        elif kind == "response.output_text.delta":
            yield from self._content(self._filter.add(event["delta"]))
        elif kind == "response.output_text.done":
            yield from self._content(self._filter.flush())
        elif kind == "response.output_item.done" and item["type"] == "image_generation_call":
            yield from self._content(self._separator() + image_markdown(item))
        elif kind == "response.output_item.added" and item["type"] == "function_call":
            self._call_index += 1
            function = {"name": item["name"], "arguments": ""}
            yield self._call(id=item["call_id"], type="function", function=function)
        elif kind == "response.function_call_arguments.delta":
            yield self._call(function={"arguments": event["delta"]})

    def _separator(self) -> str:
        self._num_shown += 1
        return SEPARATOR if self._num_shown > 1 else ""

    def _content(self, text: str) -> Iterator[dict[str, Any]]:
        if text:
            yield {"content": text}

    def _call(self, **fields: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": self._call_index, **fields}]}


class ChunkEncoder:
    """Encodes the chunks of one stream; with `with_usage` each has the field."""

    def __init__(self, record: dict[str, Any], *, with_usage: bool) -> None:
        self.record = {**record, "object": "chat.completion.chunk"}
        self.with_usage = with_usage

    def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return self._encode({"choices": [choice], "usage": None})

    def usage(self, usage: dict[str, int]) -> bytes:
        return self._encode({"choices": [], "usage": usage})

    def error(self, error: ApiError) -> bytes:
        return f"data: {json.dumps(error.body)}\n\n".encode()

    def _encode(self, body: dict[str, Any]) -> bytes:
        if not self.with_usage:
            body.pop("usage")
        return f"data: {json.dumps({**self.record, **body})}\n\n".encode()


async def stream_chunks(
    encoder: ChunkEncoder,
    converter: DeltaConverter,
    events: EventLog,
    work: Coroutine[Any, Any, tuple[str, dict[str, int]]],
) -> AsyncIterator[bytes]:
    """Yield the chunks of a chat; `work` builds its answer, and returns finish reason and usage.

    An error before the first chunk is raised, so that it can be the status of the HTTP response;
    a later one is a chunk. The last one is `[DONE]` in any case. Closing it stops the work.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda _: events.end())
    is_begun = False
    try:
        async for event in events.read():
            for delta in converter.convert(event):
                if not is_begun:
                    is_begun = True
                    yield encoder.delta({"role": "assistant", "content": ""})
                yield encoder.delta(delta)
        try:
            reason, usage = await task
        except Exception as error:
            if not is_begun:
                raise
            if not isinstance(error, ApiError):
                log_fault(f"chat {encoder.record['id']}", error)
                error = internal_error()
            yield encoder.error(error)
        else:
            if not is_begun:
                yield encoder.delta({"role": "assistant", "content": ""})
            yield encoder.delta({}, reason)
            if encoder.with_usage:
                yield encoder.usage(usage)
        yield DONE
    finally:
        task.cancel()
