"""A client that hangs up ends its work at the model's next step, unless it is in the background."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from http.server import ThreadingHTTPServer

import httpx
import pytest

from pinxit.nn.interruption import check_interrupted, interruptible
from pinxit.serve.dialogue.llm import LanguageModel
from tests.serve.server import TOOLS, data_url, make_client, make_png, serving, wait_until
from tests.serve.test_chat_stream import PausingServer, part_of_call

LOOPS = [
    "pinxit.models.igpt.generate", "pinxit.models.seq2seq.generate", "pinxit.nn.beam_search",
]  # fmt: skip
STEP_SECONDS = 0.03


class SlowSteps:
    """Counts the steps of all models, and makes each of them slow."""

    def __init__(self, monkeypatch):
        self.count = 0
        for module in LOOPS:
            monkeypatch.setattr(f"{module}.check_interrupted", self.step)

    def step(self):
        check_interrupted()
        self.count += 1
        time.sleep(STEP_SECONDS)

    def wait_until_they_end(self) -> int:
        """Return how many were done, once there are no more."""
        before = -1
        while before != self.count:
            before = self.count
            time.sleep(10 * STEP_SECONDS)
        return self.count


@pytest.fixture
def steps(monkeypatch):
    return SlowSteps(monkeypatch)


def send(base_url: str, path: str, body: dict) -> socket.socket:
    url, content = httpx.URL(base_url), json.dumps(body).encode()
    connection = socket.create_connection((url.host, url.port), 10)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return connection


IMAGE = data_url(make_png())
PARTS = [
    {"type": "input_text", "text": "What is this?"},
    {"type": "input_image", "image_url": IMAGE},
]
SEEN = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
RESPONSE = {"model": "pinxit", "input": "a blob", "tools": TOOLS}
PREVIEWS = [{"type": "image_generation", "partial_images": 3}]
CHAT = {"model": "pinxit", "messages": [{"role": "user", "content": "Draw a blob"}]}
REQUESTS = {
    "images": ("/v1/images/generations", {"prompt": "a blob", "n": 3}),
    "best of several": ("/v1/images/generations", {"prompt": "a blob", "best_of": 4}),
    "a stream of an image": ("/v1/images/generations", {"prompt": "a blob", "stream": True}),
    "an unconditional image": ("/v1/images/generations", {"prompt": "x", "model": "blobs-igpt"}),
    "an edit": ("/v1/images/edits", {"prompt": "a hat", "images": [{"image_url": IMAGE}]}),
    "a response": ("/v1/responses", RESPONSE),
    "a stream": ("/v1/responses", {**RESPONSE, "stream": True}),
    "a stream with previews": ("/v1/responses", {**RESPONSE, "stream": True, "tools": PREVIEWS}),
    "captions": ("/v1/responses", {
        "model": "pinxit", "input": [{"role": "user", "content": PARTS + PARTS[1:] * 20}],
    }),
    "a chat": ("/v1/chat/completions", CHAT),
    "a stream of a chat": ("/v1/chat/completions", {**CHAT, "stream": True}),
    "a caption in a chat": ("/v1/chat/completions", {
        "model": "pinxit", "messages": [{"role": "user", "content": SEEN}],
    }),
}  # fmt: skip


@pytest.mark.parametrize("request_name", REQUESTS)
def test_the_model_takes_no_more_steps_for_a_client_that_has_left(base_url, steps, request_name):
    connection = send(base_url, *REQUESTS[request_name])
    wait_until(lambda: steps.count >= 2)
    connection.close()
    time.sleep(0.2)  # for the server to see it, and for the step that runs
    soon = steps.count
    assert steps.wait_until_they_end() <= soon + 1
    assert soon < 20, "of 64 or more, or of as many captions"


def test_a_queued_request_of_a_client_that_has_left_never_runs(base_url, steps):
    first = send(base_url, "/v1/images/generations", {"prompt": "a blob"})
    wait_until(lambda: steps.count >= 2)
    second = send(base_url, "/v1/images/generations", {"prompt": "a blob", "guidance": 2.0})
    time.sleep(0.1)
    second.close()
    first.recv(100)
    done = steps.count
    assert steps.wait_until_they_end() == done
    first.close()


def test_a_background_response_goes_on_without_its_client(base_url, steps):
    body = {**RESPONSE, "background": True, "stream": True}
    connection = send(base_url, "/v1/responses", body)
    start = b""
    while b"resp_" not in start:
        start += connection.recv(1000)
    wait_until(lambda: steps.count >= 2)
    connection.close()
    response_id = "resp_" + start.split(b"resp_")[1][:32].decode()
    client = make_client(base_url)
    wait_until(lambda: client.responses.retrieve(response_id).status == "completed")


def test_no_further_round_of_a_language_model_begins(runs, tmp_path, steps):
    PausingServer.requests = []
    draw = part_of_call("draw_image", '{"caption": "a blob"}')
    PausingServer.script = [[draw]] * 5
    server = ThreadingHTTPServer(("127.0.0.1", 0), PausingServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answer = LanguageModel(f"http://127.0.0.1:{server.server_port}/v1").answer
    store = tmp_path / "s.sqlite"
    with serving([runs["blobs-draw"]], store, answer=answer, with_llm=True) as url:
        connection = send(url, "/v1/responses", RESPONSE)
        wait_until(lambda: steps.count >= 2)
        connection.close()
        steps.wait_until_they_end()
        assert len(PausingServer.requests) == 1
    server.shutdown()


def test_a_check_holds_for_its_own_thread_and_block():
    def stop():
        raise InterruptedError

    check_interrupted()
    with interruptible(stop):
        with pytest.raises(InterruptedError):
            check_interrupted()
        other = threading.Thread(target=check_interrupted)
        other.start()
        other.join()
    check_interrupted()


def test_a_client_that_leaves_within_its_body_is_no_fault(base_url, caplog):
    caplog.set_level(logging.INFO, "pinxit.serve")
    url = httpx.URL(base_url)
    for path in ("/v1/responses", "/v1/images/edits", "/v1/files"):
        caplog.clear()
        with socket.create_connection((url.host, url.port), 10) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n"
            form = "multipart/form-data; boundary=b"
            kind = "application/json" if path == "/v1/responses" else form
            connection.sendall(f"{head}Content-Type: {kind}\r\n\r\n--b".encode())
        wait_until(lambda: caplog.records)
        (record,) = caplog.records
        assert json.loads(record.message)["status"] == 499
