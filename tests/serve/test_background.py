"""Background responses, streams that are read again, and links that need no key."""

from __future__ import annotations

import asyncio
import base64
import time

import httpx
import openai
import pytest

from pinxit.serve import links
from pinxit.serve.api import responses
from pinxit.serve.dialogue.event_log import EventLog
from pinxit.serve.dialogue.response import answer_without_llm
from pinxit.serve.errors import ApiError
from pinxit.serve.middleware import AccessRules
from pinxit.serve.store import Store
from tests.serve.server import TOOLS, decode_png, make_client, serving, wait_until

PREVIEWS = [{"type": "image_generation", "partial_images": 2}]


async def answer_slowly(builder):
    await asyncio.sleep(0.2)
    await answer_without_llm(builder)


async def wait_forever(builder):
    await asyncio.sleep(60)


@pytest.fixture(scope="module")
def slow_client(runs, tmp_path_factory):
    store = tmp_path_factory.mktemp("slow") / "s.sqlite"
    with serving([runs["blobs-draw"]], store, answer=answer_slowly) as url:
        yield make_client(url)


def wait_for(client, response_id: str):
    wait_until(lambda: client.responses.retrieve(response_id).status != "in_progress")
    return client.responses.retrieve(response_id)


def test_a_background_response_comes_at_once_and_ends_later(slow_client):
    response = slow_client.responses.create(
        model="gpt-5", input="a blob", tools=TOOLS, background=True
    )
    assert (response.status, response.background, response.output) == ("in_progress", True, [])
    final = wait_for(slow_client, response.id)
    assert final.status == "completed"
    assert [item.type for item in final.output] == ["image_generation_call", "message"]
    follow = slow_client.responses.create(
        model="gpt-5", input="a hat", previous_response_id=response.id, tools=TOOLS
    )
    assert follow.status == "completed"


def test_a_background_stream_is_read_on_where_it_was_left(slow_client):
    stream = slow_client.responses.create(
        model="gpt-5", input="a blob", tools=PREVIEWS, background=True, stream=True
    )
    first = next(iter(stream))
    stream.close()
    rest = list(slow_client.responses.retrieve(first.response.id, stream=True, starting_after=0))
    assert [event.sequence_number for event in rest] == list(range(1, len(rest) + 1))
    assert rest[-1].type == "response.completed"
    assert sum(event.type.endswith("partial_image") for event in rest) == 2
    again = list(slow_client.responses.retrieve(first.response.id, stream=True))
    assert [event.type for event in again[1:]] == [event.type for event in rest]
    tail = slow_client.responses.retrieve(first.response.id, stream=True, starting_after=3)
    assert next(iter(tail)).sequence_number == 4


def test_a_finished_response_is_streamed_from_the_store(client):
    response = client.responses.create(model="gpt-5", input="a blob", tools=TOOLS)
    events = list(client.responses.retrieve(response.id, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].response == response
    late = list(client.responses.retrieve(response.id, stream=True, starting_after=10**6))
    assert [event.type for event in late] == ["response.completed"]
    with client.responses.stream(response_id=response.id) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == response.output_text


def test_a_background_response_is_cancelled_and_keeps_its_body(runs, tmp_path):
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite", answer=wait_forever) as url:
        client = make_client(url)
        response = client.responses.create(
            model="gpt-5", input="x", tools=TOOLS, background=True, metadata={"a": "b"}
        )
        cancelled = client.responses.cancel(response.id)
        assert (cancelled.status, cancelled.metadata) == ("cancelled", {"a": "b"})
        assert client.responses.retrieve(response.id) == cancelled


def test_a_background_response_ends_with_its_server(runs, tmp_path):
    store = tmp_path / "s.sqlite"
    with serving([runs["blobs-vae"]], store, answer=wait_forever) as url:
        response = make_client(url).responses.create(
            model="gpt-5", input="x", tools=TOOLS, background=True
        )
    stored = Store(str(store)).load_response(response.id)
    assert stored is not None
    assert stored.body["status"] == "failed"


def test_a_response_of_a_server_that_was_killed_is_failed(runs, tmp_path, client):
    store = Store(str(tmp_path / "s.sqlite"))
    body = client.responses.create(model="gpt-5", input="x").to_dict()
    store.save_response({**body, "status": "in_progress", "output": []}, [])
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite") as url:
        killed = make_client(url)
        assert killed.responses.retrieve(body["id"]).error.code == "server_error"
        with pytest.raises(openai.BadRequestError):
            killed.responses.cancel(body["id"])
        events = list(killed.responses.retrieve(body["id"], stream=True))
        assert events[-1].type == "response.failed"


def test_another_server_on_the_store_follows_a_background_response(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(responses, "POLL_SECONDS", 0.05)
    store, run = tmp_path / "s.sqlite", [runs["blobs-draw"]]
    with serving(run, store, answer=answer_slowly) as first, serving(run, store) as other:
        response = make_client(first).responses.create(
            model="gpt-5", input="a blob", tools=TOOLS, background=True
        )
        other_client = make_client(other)
        assert other_client.responses.retrieve(response.id).status == "in_progress"
        *_, last = other_client.responses.retrieve(response.id, stream=True)
        assert (last.type, len(last.response.output)) == ("response.completed", 2)


async def wait_shortly(builder):
    await asyncio.sleep(3)
    await answer_without_llm(builder)


def test_a_deleted_background_response_does_not_come_back(runs, tmp_path):
    store = tmp_path / "s.sqlite"
    with serving([runs["blobs-draw"]], store, answer=wait_shortly) as url:
        client = make_client(url)
        body = {"model": "gpt-5", "input": "a blob", "tools": TOOLS}
        response = client.responses.create(**body, background=True)
        with pytest.raises(openai.BadRequestError, match="has not ended"):
            client.responses.create(**body, previous_response_id=response.id)
        client.responses.delete(response.id)
        time.sleep(0.2)
        for options in ({}, {"stream": True}):
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(response.id, **options)


def test_a_refusal_in_the_background_is_the_responses_error(runs, tmp_path):
    with serving([runs["blobs-caption"]], tmp_path / "s.sqlite") as url:
        client = make_client(url)
        response = client.responses.create(
            model="gpt-5", input="a blob", tools=TOOLS, background=True
        )
        final = wait_for(client, response.id)
        assert final.status == "failed"
        assert "generates images" in final.error.message


def test_readers_of_a_log_get_every_event():
    asyncio.run(read_a_log())


async def read_a_log():
    log = EventLog()

    async def read(after: int) -> list[int]:
        return [event["sequence_number"] async for event in log.read(after)]

    readers = [asyncio.ensure_future(read(after)) for after in (-1, 2, 9)]
    for number in range(5):
        log.append({"sequence_number": number})
        await asyncio.sleep(0)
    log.end()
    assert await asyncio.gather(*readers) == [[0, 1, 2, 3, 4], [3, 4], []]
    assert await read(3) == [4]


# -- links -----------------------------------------------------------------------------------------


@pytest.fixture
def url_with_key(runs, tmp_path):
    rules = AccessRules(api_key="secret")
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite", rules=rules) as url:
        yield url


def link_of(base_url: str) -> str:
    client = make_client(base_url, "secret")
    return client.images.generate(prompt="x", response_format="url").data[0].url


def test_a_link_to_an_image_needs_no_key_until_it_expires(url_with_key, monkeypatch):
    link = link_of(url_with_key)
    answer = httpx.get(link, headers={"Origin": "https://app.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    for changed in (link.replace("/file_", "/file_0"), link[:-1] + "x", link + "0"):
        assert httpx.get(changed).status_code == 403
    later = int(time.time()) + 10**6
    forged = httpx.URL(link).copy_merge_params({"expires": later})
    assert httpx.get(forged).status_code == 403
    monkeypatch.setattr(links.time, "time", lambda: later)
    assert "expired" in httpx.get(link).json()["error"]["message"]


def test_servers_on_one_store_accept_each_others_links(runs, tmp_path):
    store = tmp_path / "s.sqlite"
    with serving([runs["blobs-vae"]], store) as first, serving([runs["blobs-vae"]], store) as other:
        link = link_of(first)
        assert httpx.get(link.replace(first, other)).status_code == 200


def test_links_start_with_the_public_address(runs, tmp_path):
    public = "https://images.example/api"
    with serving([runs["blobs-vae"]], tmp_path / "s.sqlite", public_url=public) as url:
        link = link_of(url)
        assert link.startswith(f"{public}/signed/file_")
        assert httpx.get(link.replace(public, url)).status_code == 200


def test_an_unsigned_path_is_refused(url_with_key):
    assert httpx.get(f"{url_with_key}/signed/file_1").status_code in (400, 403)
    with pytest.raises(ApiError, match="wrong"):
        links.FileLinks(b"a").check("file_1", int(time.time()) + 60, "0" * 64)


def test_the_image_of_a_link_is_the_image(url_with_key):
    content = httpx.get(link_of(url_with_key)).content
    assert decode_png(base64.b64encode(content).decode()).size == (8, 8)


def test_background_needs_the_store(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="gpt-5", input="x", background=True, store=False)
    assert error.value.param == "background"
