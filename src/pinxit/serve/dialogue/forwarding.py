"""What a language model writes goes on to the client as it comes: texts, and calls of functions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection

from pinxit.serve.dialogue.response import ResponseBuilder
from pinxit.serve.dialogue.upstream import Call, MessagePart, Reply
from pinxit.serve.dialogue.writers import CallWriter, TextWriter

NO_ARGUMENTS = "{}"


async def forward_message(
    builder: ResponseBuilder, parts: AsyncIterator[MessagePart], functions: Collection[str]
) -> tuple[Reply, int]:
    """Receive a message. Return it, and how many of its calls, the first ones, went to the client.

    These are calls of `functions`, the client's own, up to the first of one of our tools: that has
    to run before what follows it.
    """
    forwarder = _Forwarder(builder, functions)
    async for part in parts:
        forwarder.add(part)
    forwarder.end()
    return forwarder.reply, forwarder.num_calls


class _Forwarder:
    def __init__(self, builder: ResponseBuilder, functions: Collection[str]) -> None:
        self.builder, self.functions = builder, functions
        self.reply, self.num_calls = Reply(), 0
        self._num_chars = 0  # of the text that was written
        self._text: TextWriter | None = None
        self._call: CallWriter | None = None

    def add(self, part: MessagePart) -> None:
        self.reply.add(part)
        if self._call is None:
            self._write_text()
        self._write_calls()

    def end(self) -> None:
        is_whole = self.reply.finish_reason != "length"
        if self._call is not None:
            self._end_call("completed" if is_whole else "incomplete")
        self._write_text()  # what came between calls
        self._end_text()

    def _write_text(self) -> None:
        text = self.reply.text[self._num_chars :]
        if text and (self._text is not None or self.reply.text.strip()):
            self._text = self._text or TextWriter(self.builder)
            self._text.write(text)
            self._num_chars = len(self.reply.text)

    def _write_calls(self) -> None:
        """Write what has come of the calls, each from its first argument on: then it has a name."""
        for call in self.reply.calls[self.num_calls :]:
            if call.name not in self.functions or not call.arguments:
                return
            self._write_call(call)
            is_last = call is self.reply.calls[-1]
            if is_last or not _is_json(call.arguments):  # parts of calls may come in turns
                return
            self._end_call("completed")

    def _write_call(self, call: Call) -> None:
        if self._call is None:
            self._end_text()
            self._call = CallWriter(self.builder, call.id, call.name)
        if delta := call.arguments[len(self._call.arguments) :]:
            self._call.write(delta)

    def _end_call(self, status: str) -> None:
        assert self._call is not None
        self._call.close(status)
        self._call = None
        self.num_calls += 1

    def _end_text(self) -> None:
        if self._text is not None:
            self._text.close()
            self._text = None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
