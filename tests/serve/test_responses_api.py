"""/v1/responses with the official client: images, words, turns, streams, the store."""

from __future__ import annotations

import os
import subprocess
import sys

import openai
import pytest

from tests.serve.server import data_url, make_png, opened

CAT = "Generate an image of gray tabby cat hugging an otter with an orange scarf"
DRAW = [{"type": "image_generation"}]


def call_of(response):
    return next(one for one in response.output if one.type == "image_generation_call")


def with_image(text: str):
    parts = [
        {"type": "input_text", "text": text},
        {"type": "input_image", "image_url": data_url(make_png())},
    ]
    return [{"role": "user", "content": parts}]


def test_the_chapters_program_runs_unchanged_and_so_does_its_follow_up(base):
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
    environment = {**os.environ, "OPENAI_BASE_URL": f"{base}/v1", "OPENAI_API_KEY": "x"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_an_image_is_as_was_asked_for_and_the_answer_says_how_it_came(client):
    tool = {"type": "image_generation", "size": "64x32", "output_format": "webp", "seed": 5}
    response = client.responses.create(
        model="blobs-painter",
        input="Draw a blob at the top left",
        tools=[tool],
        metadata={"a": "b"},
    )
    call = call_of(response)
    image = opened(call.result)
    assert (image.size, image.format) == ((64, 32), "WEBP")
    assert call.revised_prompt == "blob at the top left"
    assert (call.seed, call.painted_by, call.resampled_from) == (5, "blobs-painter", "8x8")
    assert response.metadata == {"a": "b"}
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_the_same_seed_gives_the_same_image_as_the_model_itself(client, runs):
    import numpy as np

    import pinxit

    tool = {"type": "image_generation", "seed": 3}
    asked = {"model": "blobs-painter", "input": "a blob at the top left", "tools": [tool]}
    one, two = (opened(call_of(client.responses.create(**asked)).result) for _ in range(2))
    own = pinxit.load(runs["blobs-painter"]).draw(["a blob at the top left"], seed=3)
    assert np.array_equal(np.asarray(one), own.pixels[0, ..., 0])
    assert np.array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.parametrize(
    ("prompt", "language"), [("What is in this image?", "en"), ("Décris cette image.", "fr")]
)
def test_an_image_without_the_tool_gives_words_in_the_prompts_language(
    client, runs, prompt, language
):
    import pinxit
    from pinxit.serve.media.uploads import received

    response = client.responses.create(model="gpt-4o", input=with_image(prompt))
    model = pinxit.load(runs["blobs-captions"])
    pixels = received(make_png()).fitted(model.info)
    said = model.caption(pinxit.Images(pixels[None]), language=language)[0][0].text
    assert response.output_text == said
    assert [one.type for one in response.output] == ["message"]


def test_a_question_about_an_image_is_answered_in_words_though_the_tool_is_offered(client):
    response = client.responses.create(
        model="gpt-5", input=with_image("What is in this image?"), tools=DRAW
    )
    assert response.output[0].type == "message"
    forced = client.responses.create(
        model="gpt-5",
        input=with_image("What is in this image?"),
        tools=DRAW,
        tool_choice="required",
    )
    assert forced.output[0].type == "image_generation_call"


def test_a_stream_tells_all_and_its_answer_is_kept(client):
    tool = {"type": "image_generation", "partial_images": 2}
    events = list(client.responses.create(model="gpt-5", input=CAT, tools=[tool], stream=True))
    kinds = [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert kinds[:3] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    partial = [one for one in events if one.type.endswith("partial_image")]
    assert [one.partial_image_index for one in partial] == [0, 1]
    assert opened(partial[0].partial_image_b64).size == (8, 8)
    assert kinds[-2:] == ["response.output_item.done", "response.completed"]
    whole = call_of(events[-1].response).result
    assert whole == events[-2].item.result
    assert call_of(client.responses.retrieve(events[-1].response.id)).result == whole


def test_words_are_streamed_piece_by_piece(client):
    with client.responses.stream(model="gpt-5", input=with_image("Describe.")) as stream:
        pieces = [one.delta for one in stream if one.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text


def test_a_turn_may_name_an_image_by_its_id_alone_or_bring_it(client):
    first = client.responses.create(model="gpt-5", input=CAT, tools=DRAW)
    call = call_of(first)
    by_id = [{"role": "user", "content": "a hat"}, {"type": "image_generation_call", "id": call.id}]
    assert call_of(client.responses.create(model="gpt-5", input=by_id, tools=DRAW)).action == "edit"
    whole = [one.to_dict() for one in first.output] + [{"role": "user", "content": "a hat"}]
    again = client.responses.create(model="gpt-5", input=whole, tools=DRAW, store=False)
    assert call_of(again).action == "edit"


def test_an_image_may_come_as_a_file(client):
    sent = client.files.create(file=make_png(), purpose="vision")
    assert client.files.content(sent.id).read() == make_png()
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "file_id": sent.id},
    ]
    said = client.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    assert said.output_text
    assert sent.id in [one.id for one in client.files.list().data]
    client.files.delete(sent.id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(sent.id)


def test_what_is_stored_can_be_read_listed_and_deleted(client):
    made = client.responses.create(model="gpt-5", input=CAT, tools=DRAW)
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    items = client.responses.input_items.list(made.id)
    assert [item.content[0].text for item in items] == [CAT]
    with pytest.raises(openai.BadRequestError, match="nothing to cancel"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_what_is_not_to_be_stored_is_not(client):
    made = client.responses.create(model="gpt-5", input=CAT, tools=DRAW, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as told:
        client.responses.create(model="gpt-5", input="x", previous_response_id=made.id, tools=DRAW)
    assert told.value.code == "previous_response_not_found"


REFUSED = [
    ({"model": "no-such"}, 404, "model", "model_not_found"),
    ({"input": ""}, 400, "input", None),
    ({"input": []}, 400, "input", None),
    ({"input": 5}, 400, "input", None),
    ({"tools": [{"type": "web_search"}]}, 400, "tools[0].type", "unsupported_parameter"),
    ({"tools": [{}]}, 400, "tools[0].type", None),
    ({"tools": [{"type": "image_generation", "size": "0x0"}]}, 400, "tools[0].size", None),
    ({"tools": [{"type": "image_generation", "partial_images": 4}]}, 400, "tools[0].partial", None),
    ({"tools": [], "tool_choice": {"type": "image_generation"}}, 400, "tool_choice", None),
    ({"tool_choice": "sometimes"}, 400, "tool_choice", None),
    ({"background": True}, 400, "background", "unsupported_parameter"),
    ({"previous_response_id": "resp_0"}, 400, "previous", "previous_response_not_found"),
    ({"metadata": {str(i): "x" for i in range(17)}}, 400, "metadata", None),
    ({"input": [{"type": "image_generation_call", "id": "ig_0"}]}, 404, "input[0].id", None),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, 404,
     "input[0].content[0].file_id", "image_file_not_found"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "status", "param", "code"), REFUSED)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_is_refused_with_its_field(client, changes, status, param, code, stream):
    asked = {"model": "gpt-5", "input": "x", "tools": DRAW, "stream": stream, **changes}
    with pytest.raises(openai.APIStatusError) as told:
        client.responses.create(**asked)
    error = told.value
    assert (error.status_code, error.type) == (status, "invalid_request_error")
    assert error.param.startswith(param)
    assert error.request_id
    assert code in (None, error.code)
