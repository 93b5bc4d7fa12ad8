"""Items that refer to stored ones, and images in every place where an item may have them."""

from __future__ import annotations

import base64
import json
import sqlite3

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.api.chat import ChatRoutes
from pinxit.serve.dialogue.parse import parse_request
from pinxit.serve.errors import ApiError
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.schemas import ChatRequest, ResponsesRequest
from pinxit.serve.store import Store, new_id
from tests.serve.server import data_url, make_client, make_png, serving

IMAGES = [make_png((4, side)) for side in range(4, 12)]


def parse(store: Store, items: list, **fields):
    request = ResponsesRequest(model="x", input=items, **fields)
    return parse_request(request, store, RequestImages(ImageSources(), store), with_llm=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("items") / "s.sqlite"))


def make_output(kind: str, image: bytes) -> dict:
    if kind == "image":
        result = base64.b64encode(image).decode()
        return {"type": "image_generation_call", "id": new_id("ig"), "result": result}
    if kind == "call":
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        return {**call, "id": new_id("fc")}
    content = [{"type": "output_text", "text": "It is made."}]
    return {"type": "message", "role": "assistant", "id": new_id("msg"), "content": content}


def make_input(kind: str, image: bytes) -> dict:
    part = {"type": "input_image", "image_url": data_url(image)}
    if kind == "answer":
        answer = {"type": "function_call_output", "call_id": "c", "output": [part]}
        return {**answer, "id": new_id("item")}
    parts = [{"type": "input_text", "text": kind}, *([part] if kind == "shown" else [])]
    return {"type": "message", "role": "user", "id": new_id("msg"), "content": parts}


kinds_of_input = st.lists(st.sampled_from(("text", "shown", "answer")), min_size=1, max_size=4)
kinds_of_output = st.lists(st.sampled_from(("image", "call", "message")), min_size=1, max_size=4)


@given(kinds_of_input, kinds_of_output, st.integers(1, 255))
def test_a_reference_stands_for_its_item(store, inputs, outputs, chosen):
    images = iter(IMAGES)
    input_items = [make_input(kind, next(images)) for kind in inputs]
    output = [make_output(kind, next(images)) for kind in outputs]
    store.save_response({"id": new_id("resp"), "output": output}, input_items)
    items = [*input_items, *output]
    references = [
        {"type": "item_reference", "id": item["id"]} if chosen >> i & 1 else item
        for i, item in enumerate(items)
    ]
    last = {"role": "user", "content": "and now?"}
    whole = parse(store, [*items, last]).conversation
    short = parse(store, [*references, last]).conversation
    assert short.messages == whole.messages
    assert [i.content for i in short.images] == [i.content for i in whole.images]


@pytest.mark.parametrize("prefix", ["msg", "fc", "ig", "item", "x"])
def test_a_reference_to_nothing_is_404(store, prefix):
    items = [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": new_id(prefix)}]
    with pytest.raises(ApiError, match=r"The item '.*' does not exist") as error:
        parse(store, items)
    assert error.value.status == 404
    assert error.value.param == "input[1].id"


def test_a_reference_to_reasoning_is_skipped(store):
    items = [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": "rs_1"}]
    assert len(parse(store, items).conversation.messages) == 1


def test_a_deleted_response_has_no_items(store):
    output = [make_output("message", b"")]
    body = {"id": new_id("resp"), "output": output}
    store.save_response(body, [])
    store.save_response(body, [])
    assert store.load_items_beside(output[0]["id"]) == output
    store.delete_response(body["id"])
    assert store.load_items_beside(output[0]["id"]) == []


def test_a_store_of_an_earlier_version_opens_and_its_images_are_found(tmp_path):
    path = str(tmp_path / "s.sqlite")
    output = [make_output("image", IMAGES[0])]
    Store(path).save_response({"id": new_id("resp"), "output": output}, [])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE response_items")
    reference = {"type": "item_reference", "id": output[0]["id"]}
    assert parse(Store(path), [reference]).conversation.image.content == IMAGES[0]


def test_a_client_refers_to_what_a_response_has_said(client):
    first = client.responses.create(model="gpt-5", input="hi")
    items = [
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "and now?"},
    ]
    assert client.responses.create(model="gpt-5", input=items).output_text


# -- images in items -------------------------------------------------------------------------------

IMAGE = {"type": "input_image", "image_url": data_url(IMAGES[0])}
SCREENSHOT = {"type": "computer_screenshot", "image_url": data_url(IMAGES[0])}
PLACES = {
    "a message": {"role": "user", "content": [IMAGE]},
    "an answer": {"role": "assistant", "content": [IMAGE]},
    "a function": {"type": "function_call_output", "call_id": "c", "output": [IMAGE]},
    "a custom tool": {"type": "custom_tool_call_output", "call_id": "c", "output": [IMAGE]},
    "a computer": {"type": "computer_call_output", "call_id": "c", "output": SCREENSHOT},
    "a generated image": make_output("image", IMAGES[0]),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_image_is_used_wherever_it_stands(store, place):
    items = [{"role": "user", "content": "hi"}, PLACES[place]]
    assert parse(store, items).conversation.image.content == IMAGES[0]


@pytest.mark.parametrize("place", PLACES)
def test_an_image_that_is_none_is_refused_wherever_it_stands(store, place):
    text = json.dumps(PLACES[place])
    encoded = base64.b64encode(IMAGES[0]).decode()
    with pytest.raises(ApiError) as error:
        parse(store, [{"role": "user", "content": "hi"}, json.loads(text.replace(encoded, "zzz"))])
    assert error.value.status == 400


def test_a_tool_of_a_chat_answers_with_an_image(store):
    routes = ChatRoutes(None, store, ImageSources(), with_llm=True)  # type: ignore[arg-type]
    part = {"type": "image_url", "image_url": {"url": data_url(IMAGES[0])}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [part]},
    ]
    parsed = routes._parse(ChatRequest(model="x", messages=messages))
    assert parsed.conversation.image.content == IMAGES[0]


# -- earlier turns ---------------------------------------------------------------------------------


def test_a_conversation_goes_on_from_a_response_whose_server_was_killed(runs, tmp_path, client):
    store = Store(str(tmp_path / "s.sqlite"))
    body = client.responses.create(model="gpt-5", input="x").to_dict()
    store.save_response({**body, "status": "in_progress", "output": []}, [])
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite") as url:
        fields = {"model": "gpt-5", "input": "and now?", "previous_response_id": body["id"]}
        assert make_client(url).responses.create(**fields).status == "completed"
        store.add_active(body["id"])
        answer = httpx.post(f"{url}/v1/responses", json=fields)
    assert answer.status_code == 400
    assert "has not ended yet" in answer.json()["error"]["message"]
