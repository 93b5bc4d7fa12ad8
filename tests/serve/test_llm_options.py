"""What a request says about texts reaches the language model."""

from __future__ import annotations

import httpx
import pytest

from pinxit.serve.dialogue.llm import LIMIT_REACHED, NOT_SENT
from pinxit.serve.schemas import ChatRequest
from tests.serve.server import TOOLS
from tests.serve.test_llm import WEATHER, ScriptedServer, call, say
from tests.serve.test_llm import client as client
from tests.serve.test_llm import language_model as language_model

FUNCTION = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
BASE = {"messages": [{"role": "user", "content": "hi"}], "tools": [FUNCTION]}
OTHERS = {
    "messages": [{"role": "user", "content": "hello"}],
    "model": "pinxit",
    "stream": True,
    "stream_options": {"include_usage": True},
    "n": 1,
    "seed": 3,
    "tools": [],
    "tool_choice": {"type": "function", "function": {"name": "get"}},
    "response_format": {"type": "json_object"},
    "max_tokens": 7,
    "max_completion_tokens": 8,
    "stop": ["x"],
    "modalities": ["text"],
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 1.5,
    "frequency_penalty": -1.5,
    "logit_bias": {"50": -3},
    "prediction": {"type": "content", "content": "x"},
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "verbosity": "high",
    "service_tier": "flex",
    "moderation": {"mode": "x"},
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"x": 1},
    "metadata": {"x": "y"},
    "user": "x",
}


@pytest.fixture(autouse=True)
def _reset_script():
    ScriptedServer.script, ScriptedServer.requests, ScriptedServer.keys = [], [], []


def send(client, path: str, **fields) -> dict:
    """Send a request, and return what the language model was sent for it."""
    ScriptedServer.requests = []
    answer = httpx.post(f"{client.base_url}{path}", json={"model": "gpt-5", **fields}, timeout=60)
    assert answer.status_code == 200, answer.text
    return ScriptedServer.requests[0]


def test_every_field_of_a_chat_has_another_value_here():
    assert set(OTHERS) == set(ChatRequest.model_fields)


@pytest.mark.parametrize("name", OTHERS)
def test_a_field_of_a_chat_reaches_the_language_model_or_is_listed(client, name):
    before = send(client, "chat/completions", **BASE)
    after = send(client, "chat/completions", **{**BASE, name: OTHERS[name]})
    assert (before != after) == (name not in NOT_SENT)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"seed": 5}, {"seed": 5}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"text": {"verbosity": "high"}}, {"verbosity": "high"}),
        ({"parallel_tool_calls": False, "tools": [WEATHER]}, {"parallel_tool_calls": False}),
        ({"max_output_tokens": 9}, {"max_tokens": 9}),
    ],
)
def test_a_field_of_a_response_reaches_the_language_model(client, field, sent):
    body = send(client, "responses", input="hi", **field)
    assert sent.items() <= body.items()


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_max_tool_calls_bounds_the_images(client, limit):
    draw = call("draw_image", caption="a blob")
    calls = [{**draw["tool_calls"][0], "id": f"call_{i}"} for i in range(2)]
    ScriptedServer.script = [{**draw, "tool_calls": calls}, draw, say("Done.")]
    response = client.responses.create(
        model="gpt-5", input="three blobs", tools=TOOLS, max_tool_calls=limit
    )
    images = [item for item in response.output if item.type == "image_generation_call"]
    assert len(images) == limit
    messages = ScriptedServer.requests[-1]["messages"]
    refused = [message for message in messages if message.get("content") == LIMIT_REACHED]
    assert len(refused) == 3 - limit
    assert response.output_text == "Done."
