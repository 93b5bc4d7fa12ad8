"""What clients of OpenAI's API rely on: events, messages after images, names, pages of lists."""

from __future__ import annotations

import base64
import json

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.serve.api.pages import select_page
from pinxit.serve.errors import ApiError
from pinxit.serve.inference.prompt_fitting import fit_prompts
from pinxit.serve.media.uploads import decode_base64
from tests.serve.fuzzing import replay
from tests.serve.server import TOOLS, data_url, make_mask, make_png

PREVIEWS = [{"type": "image_generation", "partial_images": 2}]


def ask(text: str, with_image: bool):
    image = [{"type": "input_image", "image_url": data_url(make_png())}] if with_image else []
    return [{"role": "user", "content": [{"type": "input_text", "text": text}, *image]}]


# -- events ----------------------------------------------------------------------------------------

JOBS = {
    "image": {"input": "a blob", "tools": TOOLS},
    "previews": {"input": "a blob", "tools": PREVIEWS},
    "edit": {"input": ask("a hat", True), "tools": PREVIEWS},
    "caption": {"input": ask("What is this?", True)},
    "text": {"input": "hello"},
}


@pytest.mark.parametrize("job", JOBS)
def test_the_events_of_a_stream_add_up_to_its_last_one(client, job):
    stream = client.responses.create(model="gpt-5", stream=True, **JOBS[job])
    events = [event.to_dict() for event in stream]
    *before, last = events
    assert last["type"] == "response.completed"
    assert replay(before)["output"] == last["response"]["output"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in before[:2]:
        assert (event["response"]["status"], event["response"]["output"]) == ("in_progress", [])


@pytest.mark.parametrize("job", JOBS)
def test_the_clients_own_stream_helper_reads_every_answer(client, job):
    with client.responses.stream(model="gpt-5", **JOBS[job]) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output


# -- the message after an image --------------------------------------------------------------------


@pytest.mark.parametrize("job", ["image", "previews", "edit"])
def test_an_image_is_followed_by_a_message(client, job):
    response = client.responses.create(model="gpt-5", **JOBS[job])
    assert [item.type for item in response.output] == ["image_generation_call", "message"]
    assert response.output[0].model_used in response.output_text


def test_the_message_names_the_words_that_no_caption_has(client):
    response = client.responses.create(
        model="blobs-draw", input="Draw a zeppelin blob", tools=TOOLS
    )
    assert "from: zeppelin blob" in response.output_text
    assert "Not in the training captions: zeppelin" in response.output_text


def test_the_message_says_that_a_run_reads_no_prompt(client):
    response = client.responses.create(model="blobs-vae", input="a zeppelin", tools=TOOLS)
    assert "reads no prompt" in response.output_text


class ShortReader:
    """Reads three words."""

    @property
    def text_tokenizer(self):
        return self

    def truncate_text(self, text: str) -> str:
        return " ".join(text.split()[:3])

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word == "otter"]


@pytest.mark.parametrize(
    ("prompts", "text", "left_out"),
    [
        (["a", "b c"], "a, b c", ""),
        (["one two three", "now blue"], "now blue", "one two three"),
        (["old", "a red hat please"], "a red hat", "old, please"),
        (["  ", "x  y"], "x y", ""),
    ],
)
def test_the_newest_words_win_where_not_all_fit(prompts, text, left_out):
    fitted = fit_prompts(ShortReader(), prompts)
    assert (fitted.text, fitted.left_out) == (text, left_out)


@given(st.lists(st.text("ab otter", max_size=20), min_size=1, max_size=5))
def test_every_word_of_the_prompts_is_read_or_said_to_be_left_out(prompts):
    fitted = fit_prompts(ShortReader(), prompts)
    words = " ".join([fitted.left_out, fitted.text]).replace(",", " ").split()
    assert sorted(words) == sorted(" ".join(prompts).split())
    assert set(fitted.unknown_words) <= {"otter"}


# -- names -----------------------------------------------------------------------------------------

NAMES = ["gpt-5.4", "gpt-6-astra", "gpt-4.1-2025-04-14", "o1", "o4-mini-2025-04-16", "dall-e-2"]
NAMES += ["chatgpt-4o-latest", "chatgpt-image-latest", "gpt-image-2.5-sunburst", "gpt-5"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_openai_stands_for_all_runs(client, name):
    assert client.models.retrieve(name).id == name
    response = client.responses.create(model=name, input="a blob", tools=TOOLS)
    assert (response.model, response.output[0].type) == (name, "image_generation_call")


@pytest.mark.parametrize("name", ["gtp-5", "o", "one", "oak3", "llama", "", "gpt-5/x", "gpt 5"])
def test_other_names_are_unknown(client, name):
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        client.responses.create(model=name, input="a blob", tools=TOOLS)


# -- pages -----------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 12), st.sampled_from(["asc", "desc"]))
def test_pages_hold_every_item_once(count, limit, order):
    records = [{"id": f"i{i}"} for i in range(count)]
    seen, after, has_more = [], None, True
    while has_more:
        page = select_page(records, limit, after, order)
        seen += page["data"]
        after, has_more = page["last_id"], page["has_more"]
        assert len(page["data"]) <= limit
    assert seen == (records if order == "asc" else records[::-1])


def test_an_unknown_cursor_is_refused():
    with pytest.raises(ApiError, match="No item"):
        select_page([{"id": "a"}], 5, "b", "asc")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_client_walks_through_all_files_and_input_items(client, order):
    purpose = f"vision-{order}"
    made = [client.files.create(file=make_png(), purpose=purpose).id for _ in range(5)]
    listed = [file.id for file in client.files.list(limit=2, order=order, purpose=purpose)]
    assert listed == (made if order == "asc" else made[::-1])
    items = [{"role": "user", "content": f"word {i}"} for i in range(5)]
    response = client.responses.create(model="gpt-5", input=items)
    texts = [
        item.content[0].text
        for item in client.responses.input_items.list(response.id, limit=2, order=order)
    ]
    expected = [f"word {i}" for i in range(5)]
    assert texts == (expected if order == "asc" else expected[::-1])


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("order=sideways", "order"),
        ("after=x", "after"),
    ],
)
def test_wrong_pages_are_refused_by_name(client, base_url, query, param):
    response = client.responses.create(model="gpt-5", input="hello")
    url = f"{base_url}/v1/responses/{response.id}/input_items?{query}"
    answer = httpx.get(url)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# -- chat and the rest of HTTP ---------------------------------------------------------------------


def test_a_chat_stream_ends_with_the_requested_usage(client):
    messages = [{"role": "user", "content": "hello"}]
    plain = list(client.chat.completions.create(model="gpt-5", messages=messages, stream=True))
    assert all(chunk.usage is None for chunk in plain)
    chunks = list(
        client.chat.completions.create(
            model="gpt-5", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    whole = client.chat.completions.create(model="gpt-5", messages=messages)
    assert chunks[-1].usage == whole.usage


def test_an_assistants_message_may_have_no_content(client):
    messages = [{"role": "assistant", "content": None}, {"role": "user", "content": "hello"}]
    assert client.chat.completions.create(model="gpt-5", messages=messages).choices
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": None}])


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/v1/files", "/"])
def test_head_answers_as_get_does_without_a_body(base_url, path):
    get, head = httpx.get(base_url + path), httpx.head(base_url + path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@given(st.binary(min_size=1, max_size=60), st.integers(1, 8))
def test_base64_may_be_wrapped_unpadded_or_in_its_url_form(content, width):
    text = base64.b64encode(content).decode()
    wrapped = "\n".join(text[i : i + width] for i in range(0, len(text), width))
    url_form = base64.urlsafe_b64encode(content).decode()
    for form in (text, wrapped, text.rstrip("="), url_form):
        assert decode_base64(form, "image") == content


@pytest.mark.parametrize("text", ["a", "ab$d", "ab=cd", "é"])
def test_other_text_is_no_base64(text):
    with pytest.raises(ApiError, match="not valid base64"):
        decode_base64(text, "image")


# -- images of edits -------------------------------------------------------------------------------


def test_several_images_of_an_edit_are_refused_not_dropped(client):
    with pytest.raises(openai.BadRequestError, match="2 images"):
        client.images.edit(model="gpt-image-1", image=[make_png(), make_png()], prompt="a hat")


def test_all_images_of_a_message_are_captioned_and_several_are_not_edited(client):
    image = {"type": "input_image", "image_url": data_url(make_png())}
    parts = [{"type": "input_text", "text": "What is this?"}, image, image]
    response = client.responses.create(model="gpt-5", input=[{"role": "user", "content": parts}])
    first, second = response.output_text.splitlines()
    assert first.removeprefix("1. ") == second.removeprefix("2. ")
    parts[0]["text"] = "give it a hat"
    with pytest.raises(openai.BadRequestError, match="2 images to edit"):
        client.responses.create(
            model="gpt-5", input=[{"role": "user", "content": parts}], tools=TOOLS
        )


@pytest.mark.parametrize("name", ["mask", "mask[]"])
def test_a_mask_is_read_under_both_names(base_url, name):
    files = {"image": ("a.png", make_png()), name: ("m.png", make_mask((4, 4)))}
    answer = httpx.post(f"{base_url}/v1/images/edits", files=files, data={"prompt": "x"})
    assert answer.status_code == 400, "the mask has another size than the image"
    assert answer.json()["error"]["param"] == "mask"


def test_the_own_alpha_is_a_mask_for_dall_e_2_alone(client):
    holes = make_mask()
    by_name = {
        name: client.images.edit(model=name, image=holes, prompt="a hat").to_dict()
        for name in ("dall-e-2", "gpt-image-1")
    }
    used = {name: body["model_used"] for name, body in by_name.items()}
    assert used["dall-e-2"] != used["gpt-image-1"], json.dumps(used)


@pytest.mark.parametrize("item_id", [{}, [], 5, None, "same"])
def test_items_have_ids_of_their_own_whatever_the_client_sends(base_url, item_id):
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    answer = {"type": "function_call_output", "call_id": "c", "output": "x"}
    items = [{**item, "id": item_id} for item in ({"role": "user", "content": "hi"}, call, answer)]
    body = {"model": "gpt-5", "input": items}
    response = httpx.post(f"{base_url}/v1/responses", json=body)
    assert response.status_code == 200, response.text
    url = f"{base_url}/v1/responses/{response.json()['id']}/input_items"
    ids = [item["id"] for item in httpx.get(url).json()["data"]]
    assert len(set(ids)) == 3
    assert all(isinstance(one, str) for one in ids)
    reference = {"type": "item_reference", "id": item_id}
    broken = httpx.post(f"{base_url}/v1/responses", json={**body, "input": [reference]})
    assert broken.status_code == 404
