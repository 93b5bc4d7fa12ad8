"""Chats are streamed as their answer comes: texts, images, calls, errors; stop sequences."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.api.chat_stream import StopFilter, cut_at_stop
from pinxit.serve.dialogue.llm import LanguageModel
from tests.serve.server import data_url, make_client, make_png, serving

PAUSE = object()  # in a script: wait until the test has seen what was sent


class PausingServer(BaseHTTPRequestHandler):
    """Streams the events of `script`; records the requests."""

    script: ClassVar[list] = []
    requests: ClassVar[list] = []
    resume: ClassVar[threading.Event] = threading.Event()

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._start("application/json")
        self.wfile.write(b'{"data": [{"id": "little"}]}')

    def do_POST(self):
        length = int(self.headers["content-length"])
        self.requests.append(json.loads(self.rfile.read(length)))
        self._start("text/event-stream")
        for event in self.script.pop(0):
            if event is PAUSE:
                assert self.resume.wait(20)
            else:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def _start(self, media):
        self.send_response(200)
        self.send_header("content-type", media)
        self.send_header("connection", "close")
        self.end_headers()


def delta(**fields):
    return {"choices": [{"delta": fields}]}


def usage(completion, prompt=7):
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def part_of_call(name, arguments):
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": 0, "id": f"call_{name}", "function": function}])


@pytest.fixture(scope="module")
def client(runs, tmp_path_factory):
    server = ThreadingHTTPServer(("127.0.0.1", 0), PausingServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answer = LanguageModel(f"http://127.0.0.1:{server.server_port}/v1").answer
    store = tmp_path_factory.mktemp("chat") / "s.sqlite"
    with serving(runs.values(), store, answer=answer, with_llm=True) as url:
        yield make_client(url)
    server.shutdown()


@pytest.fixture(autouse=True)
def _reset():
    PausingServer.script, PausingServer.requests = [], []
    PausingServer.resume = threading.Event()


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CHAT: dict = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}


def test_the_words_of_a_language_model_come_while_it_speaks(client):
    PausingServer.script = [[delta(content="Hel"), PAUSE, delta(content="lo."), usage(3)]]
    stream = iter(
        client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **CHAT)
    )
    first = [next(stream).choices[0].delta.content for _ in range(2)]
    assert first == ["", "Hel"]
    PausingServer.resume.set()
    *rest, end, last = stream
    assert [chunk.choices[0].delta.content for chunk in rest] == ["lo."]
    assert end.choices[0].finish_reason == "stop"
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 3)


def test_calls_of_functions_come_as_deltas(client):
    PausingServer.script = [[delta(content="Wait."), part_of_call("weather", '{"city": "Rome"}')]]
    chunks = list(client.chat.completions.create(stream=True, tools=[WEATHER], **CHAT))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.index for call in calls] == [0, 0]
    assert (calls[0].id, calls[0].function.name) == ("call_weather", "weather")
    assert "".join(call.function.arguments for call in calls) == '{"city": "Rome"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_stream_that_fails_says_so_and_ends(client):
    PausingServer.script = [[delta(content="Once"), {"error": {"message": "boom"}}]]
    stream = client.chat.completions.create(stream=True, **CHAT)
    with pytest.raises(openai.APIError, match="reports an error"):
        list(stream)
    PausingServer.script = [[{"error": {"message": "boom"}}]]
    with pytest.raises(openai.InternalServerError):  # before the first word: a status
        client.chat.completions.create(stream=True, **CHAT)


def test_all_rounds_together_keep_within_the_limit_of_tokens(client):
    draw = part_of_call("draw_image", '{"caption": "a blob"}')
    PausingServer.script = [[draw, usage(30)], [draw, usage(15)], [draw, usage(5)]]
    response = client.responses.create(
        model="gpt-5", input="x", tools=[{"type": "image_generation"}], max_output_tokens=50
    )
    assert [request["max_tokens"] for request in PausingServer.requests] == [50, 20, 5]
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (21, 50 + 3)


def test_a_server_that_counts_no_tokens_is_counted_by_its_words(client):
    draw = part_of_call("draw_image", '{"caption": "a blob"}')
    PausingServer.script = [[delta(content="one two three "), draw], [delta(content="four")]]
    client.responses.create(
        model="gpt-5", input="x", tools=[{"type": "image_generation"}], max_output_tokens=50
    )
    first, second = (request["max_tokens"] for request in PausingServer.requests)
    assert (first, second) == (50, 50 - 3 - 4)


# -- the same without a language model -------------------------------------------------------------


@pytest.mark.parametrize("words", ["Draw a blob", "hello", "What is this?"])
def test_a_stream_adds_up_to_the_answer_that_is_not_streamed(base_url, words):
    client = make_client(base_url)
    image = {"type": "image_url", "image_url": {"url": data_url(make_png())}}
    parts = [{"type": "text", "text": words}, *([image] if "this" in words else [])]
    chat: dict = {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}], "seed": 4}
    whole = client.chat.completions.create(**chat).choices[0]
    chunks = list(client.chat.completions.create(stream=True, **chat))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.message.content
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason


def test_a_refusal_is_a_status_although_the_answer_is_streamed(base_url):
    chat = {**CHAT, "messages": [{"role": "user", "content": ""}]}
    with pytest.raises(openai.BadRequestError):
        make_client(base_url).chat.completions.create(stream=True, **chat)


@given(st.text("ab ", max_size=30), st.lists(st.text("ab ", max_size=4), max_size=3), st.data())
def test_a_text_is_cut_at_the_same_place_in_whatever_parts_it_comes(text, sequences, data):
    stop, passed, start = StopFilter(sequences), "", 0
    while start < len(text):
        end = data.draw(st.integers(start + 1, len(text)))
        passed += stop.add(text[start:end])
        start = end
    passed += stop.flush()
    assert passed == cut_at_stop(text, sequences)
    assert text.startswith(passed)
    assert not any(sequence and sequence in passed for sequence in sequences)
    assert passed == text or any(sequence and sequence in text for sequence in sequences)
