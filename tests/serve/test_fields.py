"""Every field of OpenAI's requests is obeyed, harmless and echoed, or refused by name."""

from __future__ import annotations

import json
import typing

import httpx
import openai
import pytest
from openai.types import (
    embedding_create_params,
    image_create_variation_params,
    image_edit_params,
    image_generate_params,
)
from openai.types.chat import completion_create_params
from openai.types.responses import (
    ResponseIncludable,
    response_create_params,
    response_input_image_param,
    response_text_config_param,
    tool_param,
)

from pinxit.serve import schemas
from pinxit.serve.dialogue.parse import INCLUDABLE
from pinxit.serve.dialogue.response import ECHOED
from pinxit.serve.dialogue.structured import parse_format
from pinxit.serve.errors import ApiError
from tests.serve.server import TOOLS, data_url, make_png

TYPES = {
    schemas.ResponsesRequest: response_create_params.ResponseCreateParamsBase,
    schemas.ChatRequest: completion_create_params.CompletionCreateParamsBase,
    schemas.GenerateRequest: image_generate_params.ImageGenerateParamsBase,
    schemas.EditRequest: image_edit_params.ImageEditParamsBase,
    schemas.VariationRequest: image_create_variation_params.ImageCreateVariationParams,
    schemas.EmbeddingsRequest: embedding_create_params.EmbeddingCreateParams,
    schemas.ImageGenerationTool: tool_param.ImageGeneration,
    schemas.ImageRef: response_input_image_param.ResponseInputImageParam,
    schemas.TextOptions: response_text_config_param.ResponseTextConfigParam,
}
UPLOADED = {"image"}  # a file of a form; in JSON it is `images`
LOOK = {"role": "user", "content": [{"type": "input_image", "image_url": data_url(make_png())}]}


@pytest.mark.parametrize("schema", TYPES, ids=lambda schema: schema.__name__)
def test_every_field_of_the_installed_client_has_a_rule(schema):
    fields = TYPES[schema].__required_keys__ | TYPES[schema].__optional_keys__
    declared = set(schema.model_fields)
    assert fields <= declared | schema.REFUSED | UPLOADED
    assert declared >= schema.HARMLESS
    assert not declared & schema.REFUSED


def test_everything_that_a_response_can_include_has_a_rule():
    assert set(typing.get_args(ResponseIncludable)) <= set(INCLUDABLE)


ROUTES = {
    schemas.ResponsesRequest: ("responses", {"model": "gpt-5", "input": "hello"}),
    schemas.ChatRequest: ("chat/completions", {"model": "gpt-5", "messages": [LOOK]}),
    schemas.GenerateRequest: ("images/generations", {"prompt": "a blob"}),
}
CASES = [(schema, name) for schema in ROUTES for name in sorted(schema.REFUSED)]


@pytest.mark.parametrize(
    ("schema", "name"), CASES, ids=lambda case: getattr(case, "__name__", case)
)
def test_a_refused_field_is_named_unless_it_asks_for_nothing(base_url, schema, name):
    path, body = ROUTES[schema]
    if schema is schemas.ChatRequest:
        body = {**body, "messages": [{"role": "user", "content": "hello"}]}
    url = f"{base_url}/v1/{path}"
    answer = httpx.post(url, json={**body, name: "x"}, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"] | {"message": ""} == {
        "message": "", "type": "invalid_request_error", "param": name,
        "code": "unsupported_parameter",
    }  # fmt: skip
    for nothing in (None, False, [], {}, 0, ""):
        assert httpx.post(url, json={**body, name: nothing}, timeout=60).status_code == 200


def test_an_unknown_field_is_named(base_url):
    answer = httpx.post(
        f"{base_url}/v1/responses", json={"model": "gpt-5", "input": "x", "tempreature": 1}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (
        400, "tempreature", "unknown_parameter",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"text": {"verbocity": "low"}}, "text.verbocity"),
     ({"tools": [{"type": "image_generation", "input_image_mask": {"x": 1}}]},
      "tools[0].input_image_mask.x")],
)  # fmt: skip
def test_an_unknown_field_in_an_object_is_named(base_url, changes, param):
    body = {"model": "gpt-5", "input": "x", **changes}
    answer = httpx.post(f"{base_url}/v1/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_chat_names_the_message_and_the_tool_that_are_wrong(client):
    calls = [{"id": f"c{i}", "type": "function", "function": {"name": "f"}} for i in range(2)]
    messages = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "user", "content": [5]},
    ]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="gpt-5", messages=messages)
    assert error.value.param.startswith("messages[1].content")
    user = [{"role": "user", "content": "x"}]
    nameless = [{"type": "function", "function": {}}]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="gpt-5", messages=user, tools=nameless)
    assert error.value.param == "tools[0].name"
    many = [{"type": "function", "function": {"name": f"f{i}"}} for i in range(100)]
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="gpt-5", messages=user, tools=many)
    assert error.value.param == "tools"


SENT = {
    "temperature": 0.3, "top_p": 0.5, "parallel_tool_calls": False, "max_tool_calls": 3,
    "truncation": "auto", "reasoning": {"effort": "low"}, "service_tier": "flex",
    "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h",
    "prompt_cache_options": {}, "user": "u", "instructions": "be brief", "metadata": {"a": "b"},
    "max_output_tokens": 500, "tool_choice": "none", "tools": [{"type": "image_generation"}],
}  # fmt: skip


def test_harmless_fields_come_back_as_they_were_sent(base_url):
    body = {"model": "gpt-5", "input": "hello", **SENT}
    response = httpx.post(f"{base_url}/v1/responses", json=body).json()
    assert {name: response[name] for name in SENT} == SENT
    assert set(ECHOED) - {"previous_response_id"} == set(SENT)
    stored = httpx.get(f"{base_url}/v1/responses/{response['id']}").json()
    assert stored == response


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", 99), ("top_p", 2), ("truncation", "x"), ("include", ["nonsense"]),
     ("max_output_tokens", 0), ("reasoning", "high"), ("text", {"format": {"type": "x"}}),
     ("include", ["message.output_text.logprobs"])],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(base_url, field, value):
    body = {"model": "gpt-5", "input": "hello", field: value}
    answer = httpx.post(f"{base_url}/v1/responses", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(field)


# -- what is obeyed --------------------------------------------------------------------------------


def test_an_answer_ends_at_max_output_tokens(client):
    whole = client.responses.create(model="gpt-5", input="hello")
    cut = client.responses.create(model="gpt-5", input="hello", max_output_tokens=3)
    assert whole.status == "completed"
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert cut.output_text == " ".join(whole.output_text.split()[:3])
    assert cut.usage.output_tokens == 3
    *_, last = client.responses.create(
        model="gpt-5", input="hello", max_output_tokens=3, stream=True
    )
    assert (last.type, last.response.output_text) == ("response.incomplete", cut.output_text)


def test_a_chat_ends_at_max_tokens_and_at_stop_sequences(client):
    messages = [{"role": "user", "content": "hello"}]
    whole = client.chat.completions.create(model="gpt-5", messages=messages).choices[0]
    cut = client.chat.completions.create(model="gpt-5", messages=messages, max_tokens=2).choices[0]
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")
    assert cut.message.content == " ".join(whole.message.content.split()[:2])
    stop = whole.message.content[5:9]
    stopped = client.chat.completions.create(model="gpt-5", messages=messages, stop=["~", stop])
    assert stopped.choices[0].message.content == whole.message.content[:5]


@pytest.fixture
def schema():
    properties = {"caption": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": ["caption"]}


def test_a_caption_is_answered_in_the_requested_schema(client, schema):
    plain = client.responses.create(model="gpt-5", input=[LOOK]).output_text
    text = {"format": {"type": "json_schema", "name": "c", "schema": schema, "strict": True}}
    response = client.responses.create(model="gpt-5", input=[LOOK], text=text)
    assert json.loads(response.output_text) == {"caption": plain}
    assert response.text.format.type == "json_schema"
    image = {"type": "image_url", "image_url": {"url": data_url(make_png())}}
    chat = client.chat.completions.create(
        model="gpt-5",
        messages=[{"role": "user", "content": [image]}],
        response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": schema}},
    )
    assert json.loads(chat.choices[0].message.content) == {"caption": plain}


@pytest.mark.parametrize(
    ("properties", "required", "expected"),
    [
        ({"a": {"type": "string"}}, None, {"a": "x"}),
        ({"a": {"type": "string"}, "b": {"type": "number"}}, ["a"], {"a": "x"}),
        ({"a": {"type": "array", "items": {"type": "string"}}}, ["a"], {"a": ["x"]}),
        ({"a": {"type": "string"}, "b": {"type": "string"}}, ["a", "b"], None),
        ({"a": {"type": "integer"}}, ["a"], None),
        ({"a": {"type": "string", "enum": ["y"]}}, ["a"], None),
        ({}, None, None),
        ({"a": {"type": "array", "items": {"type": "string"}, "minItems": 2}}, ["a"], None),
    ],
)
def test_a_schema_is_filled_or_refused(properties, required, expected):
    schema = {"type": "object", "properties": properties, "required": required}
    options = {"type": "json_schema", "name": "n", "schema": schema}
    if expected is None:
        with pytest.raises(ApiError, match="cannot be answered"):
            parse_format(options, "text.format")
    else:
        assert json.loads(parse_format(options, "text.format")("x")) == expected


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def test_tools_of_the_client_are_offers_that_are_not_taken(client):
    response = client.responses.create(
        model="gpt-5", input="a blob", tools=[FUNCTION, *TOOLS, {"type": "web_search"}]
    )
    assert response.output[0].type == "image_generation_call"
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(
            model="gpt-5",
            input="x",
            tools=[FUNCTION],
            tool_choice={"type": "function", "name": "f"},
        )
    assert error.value.param == "tool_choice"
    offered = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    messages = [{"role": "user", "content": "hello"}]
    chat = {"model": "gpt-5", "messages": messages, "tools": offered}
    assert client.chat.completions.create(**chat).choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**chat, tool_choice="required")
    assert error.value.param == "tool_choice"


def test_calls_of_other_tools_in_a_history_are_read(client):
    history = [
        {"role": "user", "content": "what is new?"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "nothing"},
        {"role": "user", "content": "a blob"},
    ]
    response = client.responses.create(model="gpt-5", input=history, tools=TOOLS)
    assert response.output[0].type == "image_generation_call"
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "nothing"},
        {"role": "user", "content": "hello"},
    ]
    assert client.chat.completions.create(model="gpt-5", messages=messages).choices


def test_the_tools_model_generates_the_image(client):
    def model_used(name):
        tool = {"type": "image_generation", "model": name}
        response = client.responses.create(model="gpt-5", input="a blob", tools=[tool])
        return response.output[0].model_used

    assert model_used("blobs-vae") == "blobs-vae"
    assert model_used("gpt-image-1") == "blobs-draw"
    with pytest.raises(openai.NotFoundError) as error:
        model_used("no-such")
    assert error.value.param == "tools[0].model"


def test_errors_of_a_chat_name_its_own_fields(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": [5]}])
    assert error.value.param.startswith("messages[0].content")
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "x"}],
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        )  # fmt: skip
    assert error.value.param.startswith("response_format")
