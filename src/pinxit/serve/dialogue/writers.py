"""Items of a response that are written bit by bit; each is in the output once it is closed."""

from __future__ import annotations

from typing import Any, Protocol

from pinxit.serve.store import new_id


class Builder(Protocol):
    """A response that is being built."""

    body: dict[str, Any]
    writer: Any  # of the item that is being written, or None

    def emit(self, event_type: str, /, **fields: Any) -> None: ...


class TextWriter:
    """A message of the assistant."""

    def __init__(self, builder: Builder) -> None:
        self.builder, self.text = builder, ""
        builder.writer = self
        self.message = {"id": new_id("msg"), "type": "message", "role": "assistant"}
        self.index = len(builder.body["output"])
        item = {**self.message, "status": "in_progress", "content": []}
        builder.emit("response.output_item.added", output_index=self.index, item=item)
        builder.emit("response.content_part.added", **self._location, part=self._part)

    @property
    def _location(self) -> dict[str, Any]:
        return {"output_index": self.index, "content_index": 0, "item_id": self.message["id"]}

    @property
    def _part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self.text, "annotations": []}

    def write(self, delta: str) -> None:
        self.text += delta
        event_type = "response.output_text.delta"
        self.builder.emit(event_type, **self._location, delta=delta, logprobs=[])

    def close(self, status: str = "completed") -> None:
        emit = self.builder.emit
        self.builder.writer = None
        emit("response.output_text.done", **self._location, text=self.text, logprobs=[])
        emit("response.content_part.done", **self._location, part=self._part)
        item = {**self.message, "status": status, "content": [self._part]}
        self.builder.body["output"].append(item)
        emit("response.output_item.done", output_index=self.index, item=item)


class CallWriter:
    """A call of one of the client's functions."""

    def __init__(self, builder: Builder, call_id: str, name: str) -> None:
        self.builder, self.arguments = builder, ""
        builder.writer = self
        self.call = {"id": new_id("fc"), "type": "function_call", "call_id": call_id, "name": name}
        self.index = len(builder.body["output"])
        item = {**self.call, "arguments": "", "status": "in_progress"}
        builder.emit("response.output_item.added", output_index=self.index, item=item)

    def write(self, delta: str) -> None:
        self.arguments += delta
        self._emit("delta", delta=delta)

    def close(self, status: str = "completed") -> None:
        self.builder.writer = None
        self._emit("done", name=self.call["name"], arguments=self.arguments)
        item = {**self.call, "arguments": self.arguments, "status": status}
        self.builder.body["output"].append(item)
        self.builder.emit("response.output_item.done", output_index=self.index, item=item)

    def _emit(self, kind: str, **fields: Any) -> None:
        location = {"output_index": self.index, "item_id": self.call["id"]}
        self.builder.emit(f"response.function_call_arguments.{kind}", **location, **fields)
