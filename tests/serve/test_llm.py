"""A language model that calls the runs as tools, simulated by a scripted HTTP server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from pinxit.serve.dialogue.llm import LanguageModel
from tests.serve.server import TOOLS, data_url, decode_png, make_client, make_png, serving


class ScriptedServer(BaseHTTPRequestHandler):
    """Responds with the messages of `script`, one after another, and records the requests."""

    script: list
    requests: list

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._respond({"object": "list", "data": [{"id": "little"}]})

    def do_POST(self):
        length = int(self.headers["content-length"])
        self.requests.append(json.loads(self.rfile.read(length)))
        message = self.script.pop(0) if self.script else say("That is all.")
        self._respond(message if "broken" in message else {"choices": [{"message": message}]})

    def _respond(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def call(name, **arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    tool_call = {"id": f"call_{name}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [tool_call]}


def say(text):
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module")
def language_model():
    server = ThreadingHTTPServer(("127.0.0.1", 0), ScriptedServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture(scope="module")
def client(runs, language_model, tmp_path_factory):
    store = tmp_path_factory.mktemp("llm") / "s.sqlite"
    with serving(runs.values(), store, answer=LanguageModel(language_model).answer) as base_url:
        yield make_client(base_url)


@pytest.fixture(autouse=True)
def _reset_script():
    ScriptedServer.script, ScriptedServer.requests = [], []


def test_the_language_model_calls_tools_and_then_answers(client):
    ScriptedServer.script = [
        call("draw_image", caption="a blob at the top left"),
        say("Here it is."),
    ]
    response = client.responses.create(model="gpt-5", input="Surprise me", tools=TOOLS)
    image, message = response.output
    assert image.revised_prompt == "a blob at the top left"
    assert decode_png(image.result).size == (8, 8)
    assert message.content[0].text == response.output_text == "Here it is."
    first, second = ScriptedServer.requests
    assert first["model"] == "little"
    assert [tool["function"]["name"] for tool in first["tools"]] == ["draw_image"]
    assert second["messages"][-1]["role"] == "tool"
    assert second["messages"][-1]["tool_call_id"] == "call_draw_image"


def test_the_language_model_sees_earlier_turns_and_edits_their_image(client):
    ScriptedServer.script = [call("draw_image", caption="a cat")]
    first = client.responses.create(model="gpt-5", input="A cat, please", tools=TOOLS)
    ScriptedServer.script = [call("edit_image", instruction="add a hat")]
    follow = client.responses.create(
        model="gpt-5", input="and a hat", previous_response_id=first.id, tools=TOOLS
    )
    assert follow.output[0].action == "edit"
    assert follow.output[0].revised_prompt == "add a hat"
    contents = [message["content"] for message in ScriptedServer.requests[2]["messages"]]
    assert contents[0] == "A cat, please"
    assert contents[-1] == "and a hat"


def test_the_language_model_sees_an_image_by_its_caption(client):
    ScriptedServer.script = [call("describe_image", language="fr"), say("Une tache.")]
    image = {"type": "input_image", "image_url": data_url(make_png())}
    parts = [{"type": "input_text", "text": "Qu'est-ce ?"}, image]
    response = client.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    assert response.output_text == "Une tache."
    result = ScriptedServer.requests[1]["messages"][-1]
    assert result["role"] == "tool"
    assert result["content"]


def test_a_required_tool_is_required_in_the_first_round_only(client):
    ScriptedServer.script = [call("draw_image", caption="a blob"), say("There.")]
    client.responses.create(model="gpt-5", input="x", tools=TOOLS, tool_choice="required")
    assert [request["tool_choice"] for request in ScriptedServer.requests] == ["required", "auto"]


def test_the_language_model_gets_errors_as_tool_results(client):
    wrong = call("draw_image")
    wrong["tool_calls"][0]["function"]["arguments"] = "no json"
    ScriptedServer.script = [wrong, call("fly"), say("Sorry.")]
    response = client.responses.create(model="gpt-5", input="x", tools=TOOLS)
    assert response.output_text == "Sorry."
    results = [request["messages"][-1]["content"] for request in ScriptedServer.requests[1:]]
    assert results == [
        "error: the arguments are not a JSON object",
        "error: there is no tool 'fly'",
    ]


def test_without_the_tool_the_language_model_answers_in_text(client):
    ScriptedServer.script = [say("Hello there.")]
    events = list(client.responses.create(model="gpt-5", input="Hi", stream=True))
    assert events[-1].response.output_text == "Hello there."
    assert "tools" not in ScriptedServer.requests[0]


def test_a_malformed_completion_is_an_error_that_is_not_retried(client):
    ScriptedServer.script = [{"broken": True}]
    with pytest.raises(openai.InternalServerError) as error:
        client.responses.create(model="gpt-5", input="Hi")
    assert error.value.status_code == 502
    assert error.value.response.headers["x-should-retry"] == "false"


def test_an_unreachable_language_model_is_an_error(runs, tmp_path):
    answer = LanguageModel("http://127.0.0.1:9/v1").answer
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite", answer=answer) as base_url:
        with pytest.raises(openai.InternalServerError, match="does not answer"):
            make_client(base_url).responses.create(model="gpt-5", input="Hi")
        stream = make_client(base_url).responses.create(model="gpt-5", input="Hi", stream=True)
        assert [event.type for event in stream][-1] == "response.failed"
