"""Fields that do not go together are refused by name; what clients send by default is not."""

from __future__ import annotations

import httpx
import pytest

from tests.serve.server import data_url, decode_png, make_mask, make_png

IMAGE, MASK = {"image_url": data_url(make_png())}, {"image_url": data_url(make_mask())}
PHOTO = {"type": "input_image", **IMAGE}
EDIT = {"prompt": "a hat", "images": [IMAGE]}
BOTH = {**IMAGE, "file_id": "file_1"}


def send(url: str, path: str, body: dict) -> httpx.Response:
    return httpx.post(f"{url}/v1/{path}", json={"model": "pinxit", **body}, timeout=60)


def ask(tool: dict, *parts: dict) -> dict:
    content = [{"type": "input_text", "text": "a hat"}, *parts]
    tools = [{"type": "image_generation", **tool}]
    return {"input": [{"role": "user", "content": content}], "tools": tools}


REFUSED = [
    ("images/generations", {"prompt": "x", "stream": True, "response_format": "url"},
     "response_format"),
    ("images/generations", {"prompt": "x", "stream": True, "n": 2}, "n"),
    ("images/generations", {"prompt": "x", "partial_images": 1}, "partial_images"),
    ("images/generations", {"prompt": "x", "stream": False, "partial_images": 1},
     "partial_images"),
    ("images/generations", {"prompt": "x", "output_compression": 50}, "output_compression"),
    ("images/generations", {"prompt": "x", "output_compression": 50, "output_format": "png"},
     "output_compression"),
    ("images/edits", {**EDIT, "mask": MASK, "background": "transparent"}, "background"),
    ("images/edits", {**EDIT, "images": [BOTH]}, "images[0].file_id"),
    ("images/edits", {**EDIT, "mask": BOTH}, "mask.file_id"),
    ("responses", ask({"output_compression": 50}), "tools[0].output_compression"),
    ("responses", ask({"background": "transparent", "input_image_mask": MASK}, PHOTO),
     "tools[0].background"),
    ("responses", ask({"action": "generate", "input_image_mask": MASK}, PHOTO),
     "tools[0].input_image_mask"),
    ("responses", ask({}, {"type": "input_image", **BOTH}), "input[0].content[1].file_id"),
    ("chat/completions", {"messages": [{"role": "user", "content": "draw a hat"}],
     "tools": [{"type": "image_generation", "partial_images": 1}]}, "tools[0].partial_images"),
]  # fmt: skip
ACCEPTED = [
    ("images/generations", {"prompt": "x", "response_format": "url", "stream": False}),
    ("images/generations", {"prompt": "x", "partial_images": 0}),
    ("images/generations", {"prompt": "x", "output_compression": 100, "output_format": "png"}),
    ("images/generations", {"prompt": "x", "output_compression": 50, "output_format": "webp"}),
    ("images/edits", {**EDIT, "mask": MASK, "background": "auto"}),
    ("images/edits", {**EDIT, "images": [{**IMAGE, "file_id": None}]}),
    ("responses", ask({"partial_images": 2, "output_compression": 100})),
    ("responses", ask({"action": "edit", "input_image_mask": MASK}, PHOTO)),
    ("responses", ask({"action": "generate", "background": "transparent"}, PHOTO)),
]


@pytest.mark.parametrize(("path", "body", "param"), REFUSED)
def test_fields_that_exclude_each_other_are_refused_by_name(base_url, path, body, param):
    answer = send(base_url, path, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(("path", "body"), ACCEPTED)
def test_fields_that_go_together_are_accepted(base_url, path, body):
    answer = send(base_url, path, body)
    assert answer.status_code == 200, answer.text


def test_the_image_tool_of_a_chat_is_obeyed(base_url):
    tool = {"type": "image_generation", "size": "24x16", "model": "blobs-vae"}
    body = {"messages": [{"role": "user", "content": "a blob"}], "tools": [tool]}
    content = send(base_url, "chat/completions", body).json()["choices"][0]["message"]["content"]
    assert decode_png(content.split("base64,")[1].split(")")[0]).size == (24, 16)
    assert "by blobs-vae" in content
