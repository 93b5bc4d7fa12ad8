"""A chat sends all of its turns back: also the images that this server put into them."""

from __future__ import annotations

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from pinxit.serve.api.chat import ChatRoutes
from pinxit.serve.media.sources import ImageSources
from pinxit.serve.schemas import ChatRequest
from pinxit.serve.store import Store
from tests.serve.server import data_url, make_png


@pytest.fixture
def parse(tmp_path):
    routes = ChatRoutes(None, Store(str(tmp_path / "s.sqlite")), ImageSources())
    return lambda messages: routes._parse(ChatRequest(model="gpt-5", messages=messages))


def make_noise(side: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


@pytest.mark.parametrize("as_parts", [False, True])
@pytest.mark.parametrize("before", ["", "Here it is:\n\n"])
@pytest.mark.parametrize("side", [8, 400])  # the second has more characters than a text may have
def test_an_image_of_an_answer_is_the_image_of_the_chat(parse, side, before, as_parts):
    earlier, content = make_png((4, 4)), make_noise(side)
    answer = f"{before}![image]({data_url(earlier)})\n\n![image]({data_url(content)})\n\nmade it"
    messages = [
        {"role": "user", "content": "draw a cat"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": answer}] if as_parts else answer,
        },
        {"role": "user", "content": "again"},
    ]
    conversation = parse(messages).conversation
    assert [image.content for image in conversation.images] == [content]
    texts = [message.text for message in conversation.messages]
    assert texts == ["draw a cat", *filter(None, [before.strip()]), "made it", "again"]


def test_a_chat_goes_on_from_the_image_of_its_last_answer(base_url, parse):
    messages = [{"role": "user", "content": "draw a blob"}]
    for _ in range(3):
        fields = {"model": "gpt-5", "messages": messages}
        answer = httpx.post(f"{base_url}/v1/chat/completions", json=fields, timeout=60)
        assert answer.status_code == 200
        message = answer.json()["choices"][0]["message"]
        content = base64.b64decode(message["content"].split("base64,")[1].split(")")[0])
        messages += [message, {"role": "user", "content": "draw it again"}]
        assert parse(messages).conversation.image.content == content
