"""A language model's message, forwarded to the client as it comes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.dialogue.forwarding import forward_message
from pinxit.serve.dialogue.upstream import MessagePart

FUNCTIONS = {"weather", "time"}


class Recorder:
    """The events and the output of a response that is being built."""

    def __init__(self) -> None:
        self.writer: Any = None
        self.body: dict[str, Any] = {"output": []}
        self.events: list[dict[str, Any]] = []

    def emit(self, kind: str, **fields: Any) -> None:
        self.events.append({"type": kind, **fields})


def forward(parts: list[dict[str, Any]]):
    async def stream():
        for part in parts:
            yield MessagePart.model_validate(part)

    recorder = Recorder()
    reply, num_calls = asyncio.run(forward_message(recorder, stream(), FUNCTIONS))  # type: ignore
    return recorder, reply, num_calls


def call_part(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    fields = {"id": f"call_{index}"} if name else {}
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, **fields, "function": function}]}


def deltas(recorder: Recorder, kind: str) -> list[str]:
    return [
        event["delta"] for event in recorder.events if event["type"] == f"response.{kind}.delta"
    ]


def test_arguments_come_in_the_parts_in_which_they_were_written():
    chunks = ["{", '"city":', ' "Par', 'is"}']
    parts = [call_part(0, "", "weather"), *(call_part(0, chunk) for chunk in chunks)]
    recorder, _, num_calls = forward(parts)
    assert num_calls == 1
    assert deltas(recorder, "function_call_arguments") == chunks
    (item,) = recorder.body["output"]
    assert (item["name"], item["status"]) == ("weather", "completed")
    assert json.loads(item["arguments"]) == {"city": "Paris"}


def test_a_call_that_is_cut_is_incomplete():
    parts = [call_part(0, '{"city', "weather"), {"finish_reason": "length"}]
    recorder, _, _ = forward(parts)
    assert recorder.body["output"][0]["status"] == "incomplete"


def test_calls_after_one_of_our_tools_wait_for_it():
    parts = [call_part(0, "{}", "time"), call_part(1, "{}", "draw_image")]
    parts += [call_part(2, "{}", "weather")]
    recorder, reply, num_calls = forward(parts)
    assert num_calls == 1
    assert [item["name"] for item in recorder.body["output"]] == ["time"]
    assert [call.name for call in reply.calls] == ["time", "draw_image", "weather"]


names = st.sampled_from([*FUNCTIONS, "draw_image"])
arguments = st.dictionaries(st.sampled_from("abc"), st.text(max_size=4), max_size=2)


@given(st.data())
def test_events_add_up_to_the_output_in_whatever_parts_it_comes(data):
    """Parts of calls come in turns, texts between them; each call's own parts in order."""
    calls = data.draw(st.lists(st.tuples(names, arguments.map(json.dumps)), max_size=3))
    words = data.draw(st.lists(st.text(min_size=1, max_size=4), max_size=3))
    queues: list[list[dict[str, Any]]] = [[{"content": word} for word in words]]
    for index, (name, text) in enumerate(calls):
        cut = data.draw(st.integers(0, len(text)))
        chunks = [chunk for chunk in (text[:cut], text[cut:]) if chunk]
        queues.append([call_part(index, "", name), *(call_part(index, p) for p in chunks)])
    begun, parts = 0, []
    while any(queues):
        # a call begins after the one before it
        open_queues = [i for i, queue in enumerate(queues[: begun + 2]) if queue]
        chosen = data.draw(st.sampled_from(open_queues or [i for i, q in enumerate(queues) if q]))
        begun = max(begun, chosen)
        parts.append(queues[chosen].pop(0))
    recorder, reply, num_calls = forward(parts)
    assert [(call.name, call.arguments) for call in reply.calls] == calls
    output = recorder.body["output"]
    forwarded = [item for item in output if item["type"] == "function_call"]
    assert [(i["name"], i["arguments"]) for i in forwarded] == calls[:num_calls]
    first_own = next((i for i, (name, _) in enumerate(calls) if name not in FUNCTIONS), len(calls))
    assert num_calls == first_own
    texts = [i["content"][0]["text"] for i in output if i["type"] == "message"]
    written = "".join(words)
    assert "".join(texts) == (written if written.strip() else "")
    assert "".join(deltas(recorder, "output_text")) == "".join(texts)
    for index, item in enumerate(output):
        of_item = [e for e in recorder.events if e["output_index"] == index]
        assert (of_item[0]["type"], of_item[-1]["type"]) == (
            "response.output_item.added",
            "response.output_item.done",
        )
        assert of_item[-1]["item"] == item
    assert recorder.writer is None
