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

    script: list  # messages, or bytes to send as they are
    requests: list
    keys: list

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._respond({"object": "list", "data": [{"id": "little"}]})

    def do_POST(self):
        length = int(self.headers["content-length"])
        self.requests.append(json.loads(self.rfile.read(length)))
        self.keys.append(self.headers["authorization"])
        message = self.script.pop(0) if self.script else say("That is all.")
        if isinstance(message, bytes):
            self._send(message)
        else:
            self._respond({"choices": [{"message": message}]})

    def _respond(self, body):
        self._send(json.dumps(body).encode())

    def _send(self, content):
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
    answer = LanguageModel(language_model, api_key="upstream-key").answer
    with serving(runs.values(), store, answer=answer, with_llm=True) as base_url:
        yield make_client(base_url)


@pytest.fixture(autouse=True)
def _reset_script():
    ScriptedServer.script, ScriptedServer.requests, ScriptedServer.keys = [], [], []


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
    ScriptedServer.script = [b'{"broken": true}']
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


# -- tools of the client ---------------------------------------------------------------------------

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}


def test_calls_of_the_clients_functions_go_to_the_client_and_their_answers_come_back(client):
    ScriptedServer.script = [call("weather", city="Paris"), say("Sunny.")]
    question = {"role": "user", "content": "weather?"}
    first = client.responses.create(model="gpt-5", input=[question], tools=[WEATHER, *TOOLS])
    (item,) = first.output
    assert (item.type, item.name, json.loads(item.arguments)) == (
        "function_call", "weather", {"city": "Paris"},
    )  # fmt: skip
    offered = {tool["function"]["name"] for tool in ScriptedServer.requests[0]["tools"]}
    assert offered == {"draw_image", "weather"}
    answer = {"type": "function_call_output", "call_id": item.call_id, "output": "20 degrees"}
    second = client.responses.create(
        model="gpt-5", input=[answer], previous_response_id=first.id, tools=[WEATHER]
    )
    assert second.output_text == "Sunny."
    messages = ScriptedServer.requests[1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == item.call_id
    whole = client.responses.create(
        model="gpt-5", input=[question, item.to_dict(), answer], tools=[WEATHER]
    )
    assert whole.output_text
    assert ScriptedServer.requests[2]["messages"] == messages


def test_a_function_call_is_streamed_with_its_events(client):
    ScriptedServer.script = [call("weather", city="Paris")]
    with client.responses.stream(model="gpt-5", input="weather?", tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert final.output[0].type == "function_call"


def test_stop_sequences_reach_the_language_model(client):
    messages = [{"role": "user", "content": "count"}]
    for stop, sent in (("3", ["3"]), (["3", "4"], ["3", "4"])):
        ScriptedServer.script = [say("1 2 3 4")]
        chat = client.chat.completions.create(model="gpt-5", messages=messages, stop=stop)
        assert ScriptedServer.requests[-1]["stop"] == sent
        assert chat.choices[0].message.content == "1 2 ", "a server that ignores it"
    client.chat.completions.create(model="gpt-5", messages=messages)
    assert "stop" not in ScriptedServer.requests[-1]


def test_own_tools_run_and_the_clients_are_passed_on_in_one_round(client):
    both = call("draw_image", caption="a blob")
    both["tool_calls"] += call("weather", city="Paris")["tool_calls"]
    ScriptedServer.script = [both]
    response = client.responses.create(model="gpt-5", input="x", tools=[WEATHER, *TOOLS])
    assert [item.type for item in response.output] == ["image_generation_call", "function_call"]
    assert len(ScriptedServer.requests) == 1


def test_a_chat_passes_functions_on(client):
    function = {"name": "weather", "parameters": PARAMETERS}
    chat = {"model": "gpt-5", "tools": [{"type": "function", "function": function}]}
    messages = [{"role": "user", "content": "weather?"}]
    ScriptedServer.script = [call("weather", city="Paris")] * 2 + [say("Sunny.")]
    choice = client.chat.completions.create(messages=messages, **chat).choices[0]
    assert choice.finish_reason == "tool_calls"
    (tool_call,) = choice.message.tool_calls
    assert json.loads(tool_call.function.arguments) == {"city": "Paris"}
    chunks = list(client.chat.completions.create(messages=messages, stream=True, **chat))
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    streamed = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert streamed[0].function.name == "weather"
    arguments = "".join(call.function.arguments for call in streamed)
    assert arguments == tool_call.function.arguments
    answer = {"role": "tool", "tool_call_id": tool_call.id, "content": "20 degrees"}
    history = [*messages, choice.message.to_dict(), answer]
    last = client.chat.completions.create(messages=history, **chat).choices[0]
    assert last.message.content == "Sunny."
    roles = [message["role"] for message in ScriptedServer.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "tool"]


def test_a_forced_function_and_other_options_reach_the_language_model(client):
    client.responses.create(
        model="gpt-5", input="x", tools=[WEATHER], temperature=0.2, top_p=0.9, max_output_tokens=50,
        tool_choice={"type": "function", "name": "weather"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    )  # fmt: skip
    (request,) = ScriptedServer.requests
    assert request["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.2, 0.9, 50)
    assert request["response_format"]["json_schema"]["name"] == "n"
    assert ScriptedServer.keys == ["Bearer upstream-key"]


def test_an_image_ends_with_a_message_if_the_language_model_adds_none(client):
    ScriptedServer.script = [call("draw_image", caption="a zeppelin"), say("")]
    response = client.responses.create(model="gpt-5", input="x", tools=TOOLS)
    assert [item.type for item in response.output] == ["image_generation_call", "message"]
    assert "Not in the training captions: zeppelin" in response.output_text
    assert "zeppelin" in ScriptedServer.requests[1]["messages"][-1]["content"]


def test_a_language_model_that_sees_gets_the_image(runs, language_model, tmp_path):
    answer = LanguageModel(language_model, sees_images=True).answer
    store = tmp_path / "s.sqlite"
    with serving([runs["blobs-vae"]], store, answer=answer, with_llm=True) as base_url:
        image = {"type": "input_image", "image_url": data_url(make_png())}
        parts = [{"type": "input_text", "text": "What?"}, image]
        make_client(base_url).responses.create(
            model="gpt-5", input=[{"role": "user", "content": parts}]
        )
    (message,) = ScriptedServer.requests[0]["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"] == data_url(make_png())


# -- streams, and answers that are not what they should be -----------------------------------------


def sse(*events) -> bytes:
    """The bytes of a stream with these deltas."""
    lines = [json.dumps({"choices": [{"delta": event}]}) for event in events]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


@pytest.mark.parametrize("data", [b"data: ", b"data:", b"data:  "])
def test_a_streamed_text_is_passed_on_as_it_comes(client, data):
    stream = sse({"role": "assistant"}, {"content": "Hel"}, {"content": "lo."})
    ScriptedServer.script = [stream.replace(b"data: ", data)]
    events = list(client.responses.create(model="gpt-5", input="Hi", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["Hel", "lo."]
    assert events[-1].response.output_text == "Hello."


def test_a_streamed_call_is_put_together(client):
    function = {"name": "weather", "arguments": '{"ci'}
    ScriptedServer.script = [
        sse(
            {"tool_calls": [{"index": 0, "id": "c", "function": function}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Rome"}'}}]},
        )
    ]
    response = client.responses.create(model="gpt-5", input="x", tools=[WEATHER])
    item = response.output[0]
    assert (item.call_id, item.name, item.arguments) == ("c", "weather", '{"city": "Rome"}')


MALFORMED = [
    b"", b"no json", b"[]", b"5", b'"x"', b"[" * 100_000, b'{"choices": 5}', b'{"choices": []}',
    b'{"choices": [5]}', b'{"choices": [{"message": 5}]}', b'{"choices": [{"message": null}]}',
    b'{"choices": [{"message": {"content": 5}}]}', b'{"choices": [{"message": {"tool_calls": 5}}]}',
    b'{"choices": [{"message": {"tool_calls": [5]}}]}',
    b'{"choices": [{"message": {"tool_calls": [{"function": "x"}]}}]}',
    b'{"choices": [{"message": {"tool_calls": [{"index": 99999999}]}}]}',
    b'{"choices": [{"message": {"content": "\\ud800"}}]}', b"data: no json\n\n", b"data: 5\n\n",
    b'{"choices": [{"message": {"content": "' + b"x" * (5 * 2**20) + b'"}}]}',
]  # fmt: skip


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: content[:40].decode())
def test_a_malformed_answer_is_502_and_never_a_fault_of_the_server(client, content):
    ScriptedServer.script = [content]
    with pytest.raises(openai.InternalServerError) as error:
        client.responses.create(model="gpt-5", input="Hi", tools=TOOLS)
    assert error.value.status_code == 502
    ScriptedServer.script = [content]
    last = list(client.responses.create(model="gpt-5", input="Hi", stream=True))[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")


def test_the_number_of_tool_calls_of_a_turn_is_bounded(client):
    many = call("draw_image", caption="a blob")
    many["tool_calls"] *= 200
    ScriptedServer.script = [many]
    with pytest.raises(openai.InternalServerError, match="more than 8 tools"):
        client.responses.create(model="gpt-5", input="x", tools=TOOLS)
    ScriptedServer.script = [call("draw_image", caption="a blob")] * 20
    response = client.responses.create(model="gpt-5", input="x", tools=TOOLS)
    assert len(ScriptedServer.requests) <= 1 + 6
    assert response.output[-1].type == "message"


def test_the_choice_of_tools_is_obeyed(client):
    other = {**WEATHER, "name": "other"}
    chosen = [{"type": "function", "name": "weather"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": chosen}
    client.responses.create(
        model="gpt-5", input="x", tools=[WEATHER, other, *TOOLS], tool_choice=choice
    )
    client.responses.create(model="gpt-5", input="x", tools=[WEATHER, *TOOLS], tool_choice="none")
    first, second = ScriptedServer.requests
    assert [tool["function"]["name"] for tool in first["tools"]] == ["weather"]
    assert first["tool_choice"] == "required"
    assert "tools" not in second
    with pytest.raises(openai.BadRequestError, match="not among the functions"):
        client.responses.create(
            model="gpt-5", input="x", tools=[WEATHER], tool_choice={"type": "function", "name": "g"}
        )
    with pytest.raises(openai.BadRequestError, match="a tool of this server"):
        client.responses.create(model="gpt-5", input="x", tools=[{**WEATHER, "name": "draw_image"}])


def test_an_answer_that_was_cut_is_incomplete(client):
    cut = {"choices": [{"message": say("Once upon"), "finish_reason": "length"}]}
    ScriptedServer.script = [json.dumps(cut).encode()]
    response = client.responses.create(model="gpt-5", input="x", max_output_tokens=2)
    assert (response.status, response.output_text) == ("incomplete", "Once upon")


@pytest.mark.parametrize("end", [b"", b'data: {"error": {"message": "boom"}}\n\n'])
def test_a_stream_that_breaks_off_is_an_error_and_keeps_what_was_said(client, end):
    ScriptedServer.script = [sse({"content": "Once"}).replace(b"data: [DONE]\n\n", end)]
    *_, last = client.responses.create(model="gpt-5", input="x", stream=True)
    assert last.type == "response.failed"
    assert last.response.output[0].content[0].text == "Once"
    assert last.response.output[0].status == "incomplete"


def test_several_images_reach_a_language_model(client):
    image = {"type": "input_image", "image_url": data_url(make_png())}
    parts = [{"type": "input_text", "text": "Compare them"}, image, image]
    ScriptedServer.script = [say("They are the same.")]
    response = client.responses.create(
        model="gpt-5", input=[{"role": "user", "content": parts}], tools=TOOLS
    )
    assert response.output_text == "They are the same."
