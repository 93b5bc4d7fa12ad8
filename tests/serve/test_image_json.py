"""JSON with large images is sent in parts; what a client receives is the same."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi.responses import JSONResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from pinxit.serve.api import image_json
from pinxit.serve.api.image_json import image_response


def send(response: Response) -> tuple[bytes, list[int], dict[str, str]]:
    """Return the body that a client receives, the sizes of its parts, and the headers."""
    messages: list[Any] = []

    async def run():
        async def receive():
            await asyncio.Event().wait()

        async def record(message):
            messages.append(message)

        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, record)

    asyncio.run(run())
    parts = [m["body"] for m in messages if m["type"] == "http.response.body"]
    return b"".join(parts), [len(part) for part in parts], dict(response.headers)


images = st.one_of(st.none(), st.text("AZaz09+/=", max_size=60))
items = st.fixed_dictionaries({"b64_json": images, "revised_prompt": st.text(max_size=8)})
calls = st.fixed_dictionaries({"type": st.just("image_generation_call"), "result": images})
others = st.fixed_dictionaries({"type": st.just("message"), "result": st.text(max_size=60)})


@given(
    st.fixed_dictionaries(
        {"note": st.text(max_size=5)},
        optional={"data": st.lists(items, max_size=3), "output": st.lists(calls | others)},
    ),
    st.integers(1, 20),
)
def test_a_client_receives_the_same_json(body, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_json, "MAX_WHOLE_CHARS", limit)
        patch.setattr(image_json, "PART_CHARS", limit)
        content, _, headers = send(image_response(body))
    assert content == JSONResponse(body).body
    assert json.loads(content) == body
    assert int(headers["content-length"]) == len(content)


def test_a_large_image_is_sent_in_parts():
    image = "A" * (5 * image_json.PART_CHARS + 7)
    content, sizes, _ = send(image_response({"data": [{"b64_json": image}]}))
    assert json.loads(content)["data"][0]["b64_json"] == image
    assert max(sizes) == image_json.PART_CHARS
    assert len(sizes) > 6
