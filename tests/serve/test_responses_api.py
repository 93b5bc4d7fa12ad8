"""/v1/responses with the official client: images, captions, turns, streams, the store."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import openai
import pytest

import pinxit
from pinxit.serve.dialogue import streaming
from pinxit.serve.media.uploads import open_upload
from tests.serve.server import TOOLS, data_url, decode_png, make_client, make_png, serving

CAT = "Generate an image of gray tabby cat hugging an otter with an orange scarf"


def image_call(response):
    return next(item for item in response.output if item.type == "image_generation_call")


def with_image(text: str):
    parts = [
        {"type": "input_text", "text": text},
        {"type": "input_image", "image_url": data_url(make_png())},
    ]
    return [{"role": "user", "content": parts}]


def run_program(program: str, base_url: str) -> None:
    environment = {**os.environ, "OPENAI_BASE_URL": f"{base_url}/v1", "OPENAI_API_KEY": "x"}
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert process.returncode == 0, process.stderr.decode()


def test_the_courses_program_and_its_follow_up_turn_run_unchanged(base_url):
    program = f"""
from openai import OpenAI
import base64
client = OpenAI()
response = client.responses.create(model="gpt-5", input="{CAT}",
    tools=[{{"type": "image_generation"}}])
image_data = [o.result for o in response.output if o.type == "image_generation_call"]
assert base64.b64decode(image_data[0]).startswith(b"\\x89PNG")
follow = client.responses.create(model="gpt-5", previous_response_id=response.id,
    input="give this cat a detective hat", tools=[{{"type": "image_generation"}}])
hats = [o for o in follow.output if o.type == "image_generation_call"]
assert hats[0].action == "edit", hats[0].action
"""
    run_program(program, base_url)


def test_the_program_in_the_documentation_runs(base_url):
    text = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    program = next(p for p in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "OpenAI" in p)
    check = "import base64\nassert base64.b64decode(image).startswith(b'\\x89PNG')"
    run_program(f"{program}\n{check}", base_url)


def test_an_image_has_the_requested_format_and_reports_how_it_was_made(client):
    tool = {"type": "image_generation", "size": "64x32", "output_format": "webp", "seed": 5}
    response = client.responses.create(
        model="blobs-draw",
        input="Draw a blob at the top left",
        tools=[tool],
        metadata={"a": "b"},
    )
    call = image_call(response)
    image = decode_png(call.result)
    assert (image.size, image.format) == ((64, 32), "WEBP")
    assert call.revised_prompt == "blob at the top left"
    assert (call.seed, call.model_used, call.resampled_from) == (5, "blobs-draw", "8x8")
    assert response.metadata == {"a": "b"}
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_seed_gives_the_image_that_the_model_generates_for_it(client, runs):
    tool = {"type": "image_generation", "seed": 3}
    body = {"model": "blobs-draw", "input": "a blob at the top left", "tools": [tool]}
    responses = [client.responses.create(**body) for _ in range(2)]
    first, second = (decode_png(image_call(response).result) for response in responses)
    expected = pinxit.load(runs["blobs-draw"]).draw(["a blob at the top left"], seed=3)
    assert np.array_equal(np.asarray(first), expected.pixels[0, ..., 0])
    assert np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize(
    ("prompt", "language"), [("What is in this image?", "en"), ("Décris cette image.", "fr")]
)
def test_an_image_without_the_tool_is_captioned_in_the_prompts_language(
    client, runs, prompt, language
):
    response = client.responses.create(model="gpt-4o", input=with_image(prompt))
    model = pinxit.load(runs["blobs-caption"])
    pixels = open_upload(make_png()).fit_to(model.info)
    caption = model.caption(pinxit.Images(pixels[None]), language=language)[0][0].text
    assert response.output_text == caption
    assert [item.type for item in response.output] == ["message"]


def test_a_question_about_an_image_is_answered_in_text_although_the_tool_is_offered(client):
    response = client.responses.create(
        model="gpt-5", input=with_image("What is in this image?"), tools=TOOLS
    )
    assert response.output[0].type == "message"
    required = client.responses.create(
        model="gpt-5",
        input=with_image("What is in this image?"),
        tools=TOOLS,
        tool_choice="required",
    )
    assert required.output[0].type == "image_generation_call"


def test_a_stream_has_all_events_and_its_response_is_stored(client):
    tool = {"type": "image_generation", "partial_images": 2}
    events = list(client.responses.create(model="gpt-5", input=CAT, tools=[tool], stream=True))
    types = [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert types[:3] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    partial = [event for event in events if event.type.endswith("partial_image")]
    assert [event.partial_image_index for event in partial] == [0, 1]
    assert decode_png(partial[0].partial_image_b64).size == (8, 8)
    assert types[-2:] == ["response.output_item.done", "response.completed"]
    result = image_call(events[-1].response).result
    done = [event for event in events if event.type == "response.output_item.done"]
    assert result == done[0].item.result
    assert image_call(client.responses.retrieve(events[-1].response.id)).result == result


def test_text_is_streamed_word_by_word(client):
    with client.responses.stream(model="gpt-5", input=with_image("Describe.")) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text


def test_a_turn_refers_to_an_image_by_its_id_or_sends_it_again(client):
    first = client.responses.create(model="gpt-5", input=CAT, tools=TOOLS)
    call = image_call(first)
    by_id = [{"role": "user", "content": "a hat"}, {"type": "image_generation_call", "id": call.id}]
    assert (
        image_call(client.responses.create(model="gpt-5", input=by_id, tools=TOOLS)).action
        == "edit"
    )
    items = [item.to_dict() for item in first.output] + [{"role": "user", "content": "a hat"}]
    again = client.responses.create(model="gpt-5", input=items, tools=TOOLS, store=False)
    assert image_call(again).action == "edit"


def test_an_uploaded_file_can_be_captioned_listed_and_deleted(client):
    file = client.files.create(file=make_png(), purpose="vision")
    assert client.files.content(file.id).read() == make_png()
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "file_id": file.id},
    ]
    response = client.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    assert response.output_text
    assert file.id in [listed.id for listed in client.files.list().data]
    client.files.delete(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_stored_response_can_be_retrieved_listed_and_deleted(client):
    response = client.responses.create(model="gpt-5", input=CAT, tools=TOOLS)
    assert client.responses.retrieve(response.id).to_dict() == response.to_dict()
    items = client.responses.input_items.list(response.id)
    assert [item.content[0].text for item in items] == [CAT]
    with pytest.raises(openai.BadRequestError, match="nothing to cancel"):
        client.responses.cancel(response.id)
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_response_with_store_false_is_not_stored(client):
    response = client.responses.create(model="gpt-5", input=CAT, tools=TOOLS, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(
            model="gpt-5", input="x", previous_response_id=response.id, tools=TOOLS
        )
    assert error.value.code == "previous_response_not_found"


INVALID = [
    ({"model": "no-such"}, 404, "model", "model_not_found"),
    ({"input": ""}, 400, "input", None),
    ({"input": []}, 400, "input", None),
    ({"input": 5}, 400, "input", None),
    ({"tools": [{"type": "image_generation", "svg": {}, "frame_count": 2}]}, 400,
     "tools[0].frame_count", "unsupported_parameter"),
    ({"tools": [{}]}, 400, "tools[0].type", None),
    ({"tools": [{"type": "image_generation", "size": "0x0"}]}, 400, "tools[0].size", None),
    ({"tools": [{"type": "image_generation", "partial_images": 4}]}, 400, "tools[0].partial", None),
    ({"tools": [], "tool_choice": {"type": "image_generation"}}, 400, "tool_choice", None),
    ({"tool_choice": "sometimes"}, 400, "tool_choice", None),
    ({"background": True, "store": False}, 400, "background", None),
    ({"previous_response_id": "resp_0"}, 400, "previous", "previous_response_not_found"),
    ({"metadata": {str(i): "x" for i in range(17)}}, 400, "metadata", None),
    ({"input": [{"type": "image_generation_call", "id": "ig_0"}]}, 404, "input[0].id", None),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, 404,
     "input[0].content[0].file_id", "image_file_not_found"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "status", "param", "code"), INVALID)
@pytest.mark.parametrize("stream", [False, True])
def test_invalid_requests_are_refused_with_the_field(client, changes, status, param, code, stream):
    body = {"model": "gpt-5", "input": "x", "tools": TOOLS, "stream": stream, **changes}
    with pytest.raises(openai.APIStatusError) as error:
        client.responses.create(**body)
    assert (error.value.status_code, error.value.type) == (status, "invalid_request_error")
    assert error.value.param.startswith(param)
    assert error.value.request_id
    assert code in (None, error.value.code)


# -- cancelling ------------------------------------------------------------------------------------


async def wait_forever(builder):
    await asyncio.sleep(60)


@pytest.fixture
def two_servers(runs, tmp_path, monkeypatch):
    """Clients of two servers on one store, whose responses never end."""
    monkeypatch.setattr(streaming, "POLL_SECONDS", 0.05)
    run, store = [runs["blobs-vae"]], tmp_path / "s.sqlite"
    with (
        serving(run, store, answer=wait_forever) as first,
        serving(run, store, answer=wait_forever) as second,
    ):
        yield make_client(first), make_client(second)


@pytest.mark.parametrize("canceller", [0, 1], ids=["own server", "other server"])
def test_a_streamed_response_is_cancelled_by_any_server_on_its_store(two_servers, canceller):
    stream = two_servers[0].responses.create(model="gpt-5", input="x", tools=TOOLS, stream=True)
    created = next(iter(stream))
    cancelled = two_servers[canceller].responses.cancel(created.response.id)
    assert cancelled.status == "cancelled"
    assert (cancelled.id, cancelled.output_text) == (created.response.id, "")
    last = list(stream)[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    for client in two_servers:
        assert client.responses.retrieve(created.response.id).status == "cancelled"
        assert client.responses.cancel(created.response.id) == cancelled


def test_a_response_that_is_not_stored_is_cancelled_on_its_own_server(two_servers):
    stream = two_servers[0].responses.create(
        model="gpt-5", input="x", tools=TOOLS, stream=True, store=False
    )
    created = next(iter(stream)).response.id
    with pytest.raises(openai.NotFoundError):
        two_servers[1].responses.cancel(created)
    assert two_servers[0].responses.cancel(created).status == "cancelled"
    assert list(stream)[-1].response.status == "cancelled"


def test_applications_do_not_share_their_active_responses(two_servers):
    first, second = two_servers
    streams = [
        client.responses.create(model="gpt-5", input="x", tools=TOOLS, stream=True)
        for client in (first, second)
    ]
    ids = [next(iter(stream)).response.id for stream in streams]
    second.responses.cancel(ids[1])
    assert list(streams[1])[-1].response.status == "cancelled"
    assert next(iter(streams[0])).type == "response.in_progress"
    first.responses.cancel(ids[0])
    assert list(streams[0])[-1].response.status == "cancelled"
