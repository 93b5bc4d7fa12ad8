"""Requests that no client should send, from a seed; and what every answer to them must be.

`Fuzzer(seed).request(i)` is always the same request, so that a fault is repeated by its numbers.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tests.serve.server import data_url, make_mask, make_png

IMAGE = data_url(make_png())
PARTS = [{"type": "input_text", "text": "a hat"}, {"type": "input_image", "image_url": IMAGE}]
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
TOOL = {
    "type": "image_generation", "size": "32x32", "partial_images": 2, "output_format": "webp",
    "output_compression": 50, "background": "auto", "quality": "low", "seed": 3, "action": "auto",
    "input_image_mask": {"image_url": data_url(make_mask())},
}  # fmt: skip
RESPONSES = [
    {"model": "gpt-5", "input": "hello", "stream": True, "metadata": {"a": "b"}},
    {"model": "gpt-5", "input": "a blob", "tools": [{"type": "image_generation"}], "stream": True},
    {"model": "gpt-5", "input": [{"role": "user", "content": PARTS}], "tools": [TOOL]},
    {"model": "gpt-5", "input": [{"role": "user", "content": PARTS}], "max_output_tokens": 3},
    {
        "model": "blobs-caption", "stream": True, "include": [], "temperature": 0.5, "seed": 7,
        "input": [
            {"role": "developer", "content": "be short"}, {"role": "user", "content": PARTS},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"type": "image_generation_call", "id": "ig_1", "result": IMAGE.split(",")[1]},
            {"type": "item_reference", "id": "msg_1"}, {"type": "reasoning", "summary": []},
        ],
        "tools": [FUNCTION], "tool_choice": "auto", "text": {"format": {"type": "json_object"}},
    },
]  # fmt: skip
SEEN = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
CHATS = [
    {"model": "gpt-4o", "messages": [{"role": "user", "content": "Draw a blob"}], "stream": True},
    {
        "model": "gpt-4o", "messages": [
            {"role": "system", "content": "x"}, {"role": "user", "content": SEEN},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "x"}, {"role": "user", "content": "?"},
        ],
        "stream": True, "stream_options": {"include_usage": True}, "stop": ["a"], "max_tokens": 5,
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
]  # fmt: skip
BODIES: list[tuple[str, dict[str, Any]]] = [
    *(("/v1/responses", body) for body in RESPONSES),
    *(("/v1/chat/completions", body) for body in CHATS),
    ("/v1/images/generations", {
        "prompt": "a blob", "n": 1, "size": "32x32", "stream": True, "partial_images": 1, "seed": 1,
        "temperature": 0.9, "top_k": 3, "top_p": 0.9, "guidance": 1.5, "best_of": 2,
    }),
    ("/v1/images/edits", {
        "prompt": "a hat", "images": [{"image_url": IMAGE}], "mask": {"file_id": "file_1"},
        "response_format": "b64_json", "output_format": "jpeg",
    }),
    ("/v1/embeddings", {"input": [IMAGE], "model": "blobs-vae", "encoding_format": "base64"}),
    ("/studio/data/generate", {
        "run": "blobs-vae", "task": "sample", "n": 2, "seed": 1, "temperature": 1.0, "start": 3,
    }),
    ("/studio/data/generate", {
        "run": "blobs-igpt", "task": "complete", "image": IMAGE, "mask": data_url(make_mask()),
    }),
    ("/studio/data/latent", {"run": "blobs-vae", "image": IMAGE, "seed": 4}),
    ("/studio/data/input", {"run": "blobs-vae", "image": IMAGE, "name": "cat.png"}),
    ("/studio/data/decode", {"run": "blobs-vae", "z": [0.0, 1.0, -1.0, 2.0]}),
    ("/studio/data/captions", {"run": "blobs-caption", "image": IMAGE}),
]  # fmt: skip
FORMS: list[tuple[str, dict[str, str], dict[str, bytes]]] = [
    ("/v1/images/edits", {"prompt": "x", "n": "1", "stream": "false"},
     {"image": make_png(), "mask": make_mask()}),
    ("/v1/images/variations", {"n": "2", "size": "16x16"}, {"image[]": make_png()}),
    ("/v1/files", {"purpose": "vision"}, {"file": make_png()}),
]  # fmt: skip
GETS = [
    "/v1/responses/{id}", "/v1/responses/{id}/input_items?limit={n}&after={id}&order={id}",
    "/v1/responses/{id}?stream=true&starting_after={n}", "/v1/files/{id}", "/v1/models/{id}",
    "/v1/files?limit={n}&after={id}&order=asc&purpose={id}", "/v1/files/{id}/content",
    "/signed/{id}?expires={n}&signature={id}", "/studio/data/summary?run={id}",
    "/studio/data/report?run={id}", "/studio/static/{id}", "/{id}",
]  # fmt: skip

# JSON texts to stand in the place of any value
NUMBERS = [
    "0", "-0", "-1", "1", "1.0", "-0.0", "1e-400", "1e308", "-1e308", "1e309", "-1e999", "1E+2",
    "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "1" + "0" * 60,
    "1" * 400, "9" * 5000, "0.1e1", "3.0000000000000001", "NaN", "Infinity", "-Infinity", "01",
    "1.", ".5", "+1", "0x10", "1_000",
]  # fmt: skip
STRINGS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\ufffe\uffff", "\u202eabc", "\x1b[31m",
    "\r\n", "a" * 300, "é" * 2_000, "\U0001f469\u200d\U0001f3a8", "None", "null", "true", "-1",
    "1e999", "NaN", "../../etc/passwd", "' OR 1=1 --", "%00", "%s%n", "{{7*7}}", "<script>",
    "data:,", "data:image/png;base64,", "data:image/png;base64,AAAA", "http://127.0.0.1/",
    "http://[", "auto", "gpt-image-1", "dall-e-2", "١٢", "𝟙𝟚", "\u00a0", "\u2028", "ig_", "msg_",
    "resp_", "file_",
]  # fmt: skip
OTHERS = ["null", "true", "false", "[]", "{}", "[[]]", '{"a":{}}', "[null]", '{"":""}', "[0,0,0]"]
IDS = ["x", "resp_0", "msg_1", "file_1", *STRINGS]


class FuzzRequest(NamedTuple):
    """A request as it goes over the wire."""

    method: str
    target: str
    body: bytes = b""
    media: str = "application/json"


class Fuzzer:
    """Makes requests: valid ones with a few values, keys, bytes or parts changed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.known_ids = ["x"]

    def request(self, index: int) -> FuzzRequest:
        rng = random.Random(f"{self.seed} {index}")
        kind = rng.random()
        if kind < 0.6:
            return self._json(rng)
        return self._form(rng) if kind < 0.75 else self._get(rng)

    def _json(self, rng: random.Random) -> FuzzRequest:
        path, body = rng.choice(BODIES)
        body = copy.deepcopy(body)
        raw: dict[str, str] = {}  # marks in the JSON text, and what replaces them
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 6])):
            _change(rng, body, raw)
        text = json.dumps(body)
        for mark, value in raw.items():
            text = text.replace(f'"{mark}"', value)
        content = text.encode()
        if rng.random() < 0.25:
            content = _change_bytes(rng, content)
        media = "application/json" if rng.random() < 0.97 else rng.choice(["text/plain", "", "a/b"])
        return FuzzRequest("POST", path, content, media)

    def _form(self, rng: random.Random) -> FuzzRequest:
        path, texts, files = rng.choice(FORMS)
        names = [
            "n",
            "seed",
            "size",
            "stream",
            "best_of",
            "top_p",
            "prompt",
            "purpose",
            "mask",
            "x",
        ]
        texts = dict(texts)
        for _ in range(rng.choice([0, 1, 2])):
            texts[rng.choice(names)] = rng.choice([*STRINGS, *NUMBERS])
        parts = [
            (name, None, text.encode("utf-8", "surrogatepass")) for name, text in texts.items()
        ]
        parts += [(name, rng.choice(STRINGS), content) for name, content in files.items()]
        body = b""
        for name, file, content in parts:
            if file is not None and rng.random() < 0.3:
                content = _change_bytes(rng, content)
            file_name = "" if file is None else f'; filename="{file}"'
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'
            body += head.encode("utf-8", "surrogatepass") + content + b"\r\n"
        body += b"--x--\r\n"
        if rng.random() < 0.3:
            body = _change_bytes(rng, body)
        return FuzzRequest("POST", path, body, "multipart/form-data; boundary=x")

    def _get(self, rng: random.Random) -> FuzzRequest:
        method = rng.choice(["GET", "GET", "GET", "GET", "DELETE", "HEAD", "POST"])
        target = rng.choice(GETS)
        for mark, values in (("{id}", IDS + 20 * self.known_ids), ("{n}", NUMBERS)):
            while mark in target:
                value = rng.choice(values).encode("utf-8", "surrogatepass")
                target = target.replace(
                    mark, quote(value, safe="/" if rng.random() < 0.1 else ""), 1
                )
        if method == "POST" and target.startswith("/v1/responses/"):
            target = target.split("?")[0].removesuffix("/input_items") + "/cancel"
        return FuzzRequest(method, target)


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a body: (container, key)."""
    if isinstance(value, dict):
        pairs = [(value, key) for key in value]
    elif isinstance(value, list):
        pairs = [(value, index) for index in range(len(value))]
    else:
        return []
    return pairs + [node for container, key in pairs for node in _nodes(container[key])]


def _change(rng: random.Random, body: dict[str, Any], raw: dict[str, str]) -> None:
    nodes = _nodes(body)
    if not nodes:
        return
    container, key = rng.choice(nodes)
    action = rng.random()
    if action < 0.1:
        del container[key]
    elif action < 0.2 and isinstance(container, list):
        container.extend([copy.deepcopy(container[key])] * rng.choice([1, 2, 20]))
    elif action < 0.3:
        other, other_key = rng.choice(nodes)
        container[key] = copy.deepcopy(other[other_key])
    elif action < 0.35 and isinstance(container, dict):
        container[rng.choice(STRINGS)] = 1
    elif action < 0.65:
        mark = f"mark{len(raw)}"
        raw[mark] = rng.choice([*NUMBERS, *OTHERS])
        container[key] = mark
    else:
        container[key] = rng.choice(STRINGS)


def _change_bytes(rng: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        action = rng.randrange(5)
        if action == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif action == 1:
            data[at:at] = bytes(rng.choices(range(256), k=rng.choice([1, 3])))
        elif action == 2:
            del data[at : at + rng.choice([1, 2, 30])]
        elif action == 3:
            data[at:at] = data[at : at + rng.choice([1, 10, 200])]
        else:
            del data[at:]
    return bytes(data)


class Checker:
    """Sends requests, and checks each answer."""

    def __init__(self, base_url: str, counts: dict[int, int]) -> None:
        """`counts`: of answers, by their status."""
        parts = urlsplit(base_url)
        self.connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self.counts = counts

    def send(self, request: FuzzRequest) -> tuple[HTTPResponse, bytes]:
        headers = {"Content-Type": request.media} if request.body else {}
        self.connection.request(request.method, request.target, request.body or None, headers)
        response = self.connection.getresponse()
        return response, response.read()

    def check(self, request: FuzzRequest, learn: Callable[[str], None]) -> None:
        """Send a request. Raises AssertionError for an answer that no client should get.

        `learn` gets the ids of what was stored.
        """
        response, content = self.send(request)
        self.counts[response.status] = self.counts.get(response.status, 0) + 1
        assert response.status < 500, content
        assert response.headers["x-request-id"]
        if request.method == "HEAD":
            assert content == b""
            return
        media = response.headers["content-type"] or ""
        if response.status >= 400:
            error = json.loads(content)["error"]
            assert set(error) == {"message", "type", "param", "code"}, error
            assert error["message"].strip()
            assert len(content) < 10_000
        elif media.startswith("text/event-stream"):
            self._check_stream(request, content, learn)
        elif media == "application/json":
            body = json.loads(content, parse_constant=_refuse_constant)
            if isinstance(body, dict) and body.get("object") in ("response", "file"):
                learn(body["id"])
                self._check_stored(body)

    def _check_stored(self, body: dict[str, Any]) -> None:
        if body["object"] == "response" and body.get("store"):
            response, content = self.send(FuzzRequest("GET", f"/v1/responses/{body['id']}"))
            assert response.status == 200, content
            if not body["background"]:
                assert json.loads(content) == body
            items = f"/v1/responses/{body['id']}/input_items?limit=100"
            response, content = self.send(FuzzRequest("GET", items))
            assert response.status == 200, content

    def _check_stream(
        self, request: FuzzRequest, content: bytes, learn: Callable[[str], None]
    ) -> None:
        """Check that a stream has its last event, which its other events add up to."""
        blocks = [block for block in content.decode().split("\n\n") if not block.startswith(":")]
        assert blocks[-1] == "", "the last event is whole"
        lines = [
            line for block in blocks for line in block.split("\n") if line.startswith("data: ")
        ]
        data = [line.removeprefix("data: ") for line in lines]
        if request.target.startswith("/v1/chat"):
            assert data[-1] == "[DONE]"
            return
        events = [json.loads(text, parse_constant=_refuse_constant) for text in data]
        last = events[-1]
        if not request.target.startswith("/v1/responses"):
            assert last["type"].split(".")[-1] in ("completed", "done", "error"), last["type"]
            return
        ends = ("response.completed", "response.failed", "response.incomplete")
        assert last["type"] in ends
        assert not any(event["type"] in ends for event in events[:-1])
        body = last["response"]
        if request.method == "POST" and last["type"] == "response.completed":
            assert replay(events[:-1])["output"] == body["output"]
            learn(body["id"])
            self._check_stored(body)


def replay(events: list) -> dict:
    """The body that a client has after it has read these events, and no other."""
    body: dict = {}
    for event in copy.deepcopy(events):
        kind = event["type"]
        if "response" in event:
            body = event["response"]
        elif kind == "response.output_item.added":
            assert event["output_index"] == len(body["output"])
            body["output"].append(event["item"])
        elif kind == "response.output_item.done":
            body["output"][event["output_index"]] = event["item"]
        elif kind == "response.content_part.added":
            body["output"][event["output_index"]]["content"].append(event["part"])
        elif kind == "response.output_text.delta":
            part = body["output"][event["output_index"]]["content"][event["content_index"]]
            part["text"] += event["delta"]
    return body


def _refuse_constant(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")
