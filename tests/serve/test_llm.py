"""A language model between the user and our images: a real small HTTP server plays it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from pinxit.serve.dialogue.llm import LanguageModel
from tests.serve.server import client as client_of
from tests.serve.server import data_url, make_png, opened, serving

DRAW = [{"type": "image_generation"}]


class Script(BaseHTTPRequestHandler):
    """Answers with the messages of a script, one after another; remembers what it was asked."""

    script: list
    asked: list

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer({"object": "list", "data": [{"id": "little"}]})

    def do_POST(self):
        length = int(self.headers["content-length"])
        self.asked.append(json.loads(self.rfile.read(length)))
        message = self.script.pop(0) if self.script else {"role": "assistant", "content": "done"}
        self._answer(message if "broken" in message else {"choices": [{"message": message}]})

    def _answer(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def call(name, **given):
    function = {"name": name, "arguments": json.dumps(given)}
    one = {"id": f"call_{name}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [one]}


def echo(text):
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def language_model():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Script)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture(scope="module")
def talking(runs, language_model, tmp_path_factory):
    store = tmp_path_factory.mktemp("llm") / "s.sqlite"
    with serving(runs.values(), store, work=LanguageModel(language_model).answer) as base:
        yield client_of(base)


@pytest.fixture(autouse=True)
def _empty():
    Script.script, Script.asked = [], []


def test_it_calls_our_images_as_tools_and_then_talks(talking):
    Script.script = [call("draw_image", caption="a blob at the top left"), echo("Here it is.")]
    response = talking.responses.create(model="gpt-5", input="Surprise me", tools=DRAW)
    drawn, message = response.output
    assert drawn.revised_prompt == "a blob at the top left"
    assert opened(drawn.result).size == (8, 8)
    assert message.content[0].text == response.output_text == "Here it is."
    first, second = Script.asked
    assert first["model"] == "little"
    assert [tool["function"]["name"] for tool in first["tools"]] == ["draw_image"]
    assert second["messages"][-1]["role"] == "tool"
    assert second["messages"][-1]["tool_call_id"] == "call_draw_image"


def test_it_knows_the_turns_before_and_edits_their_image(talking):
    Script.script = [call("draw_image", caption="a cat")]
    first = talking.responses.create(model="gpt-5", input="A cat, please", tools=DRAW)
    Script.script = [call("edit_image", instruction="add a hat")]
    follow = talking.responses.create(
        model="gpt-5", input="and a hat", previous_response_id=first.id, tools=DRAW
    )
    assert follow.output[0].action == "edit"
    assert follow.output[0].revised_prompt == "add a hat"
    said = [message["content"] for message in Script.asked[2]["messages"]]
    assert said[0] == "A cat, please"
    assert said[-1] == "and a hat"


def test_it_sees_an_image_by_our_words(talking):
    Script.script = [call("describe_image", language="fr"), echo("Une tache.")]
    image = {"type": "input_image", "image_url": data_url(make_png())}
    parts = [{"type": "input_text", "text": "Qu'est-ce ?"}, image]
    response = talking.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    assert response.output_text == "Une tache."
    own = Script.asked[1]["messages"][-1]
    assert own["role"] == "tool"
    assert own["content"]


def test_a_forced_tool_is_forced_once(talking):
    Script.script = [call("draw_image", caption="a blob"), echo("There.")]
    talking.responses.create(model="gpt-5", input="x", tools=DRAW, tool_choice="required")
    assert [asked["tool_choice"] for asked in Script.asked] == ["required", "auto"]


def test_what_it_does_wrong_is_told_to_it(talking):
    wrong = call("draw_image")
    wrong["tool_calls"][0]["function"]["arguments"] = "no json"
    Script.script = [wrong, call("fly"), echo("Sorry.")]
    response = talking.responses.create(model="gpt-5", input="x", tools=DRAW)
    assert response.output_text == "Sorry."
    told = [asked["messages"][-1]["content"] for asked in Script.asked[1:]]
    assert told == ["the arguments are no JSON object", "there is no tool 'fly'"]


def test_without_the_tool_it_talks_alone_and_streams(talking):
    Script.script = [echo("Hello there.")]
    events = list(talking.responses.create(model="gpt-5", input="Hi", stream=True))
    assert events[-1].response.output_text == "Hello there."
    assert "tools" not in Script.asked[0]


def test_an_answer_that_is_none_is_an_error_and_not_asked_again(talking):
    Script.script = [{"broken": True}]
    with pytest.raises(openai.InternalServerError) as told:
        talking.responses.create(model="gpt-5", input="Hi")
    assert told.value.status_code == 502
    assert told.value.response.headers["x-should-retry"] == "false"


def test_one_that_is_not_there_is_an_error(runs, tmp_path):
    work = LanguageModel("http://127.0.0.1:9/v1").answer
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite", work=work) as base:
        with pytest.raises(openai.InternalServerError, match="does not answer"):
            client_of(base).responses.create(model="gpt-5", input="Hi")
        stream = client_of(base).responses.create(model="gpt-5", input="Hi", stream=True)
        assert [event.type for event in stream][-1] == "response.failed"
