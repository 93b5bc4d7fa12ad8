"""One thread a model: batches, their independence, the bound of the queue, clients that leave."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import numpy as np
import pytest

from pinxit.serve.errors import Refusal
from pinxit.serve.inference.batching import Gone, Job, Worker, finished
from tests.serve.server import client as client_of
from tests.serve.server import opened, serving


class Held:
    """A task that waits for its permission and remembers its batches."""

    def __init__(self):
        self.go, self.batches = threading.Event(), []

    def __call__(self, rows):
        self.batches.append(list(rows))
        assert self.go.wait(10)
        yield [2 * row for row in rows]


@pytest.fixture
def worker():
    made = Worker("test", waiting=8, together=4)
    yield made
    made.stop(5)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_waits_and_is_of_one_kind_is_done_together(worker):
    held, other = Held(), Held()
    jobs = [worker.submit(Job("a", held, [0]))]
    until(lambda: held.batches)
    jobs += [worker.submit(Job("a", held, [i])) for i in (1, 2)]
    jobs += [worker.submit(Job("b", other, [7])), worker.submit(Job("a", held, [3]))]
    held.go.set()
    other.go.set()
    assert [job.done.result(10) for job in jobs] == [[0], [2], [4], [14], [6]]
    assert (held.batches, other.batches) == ([[0], [1, 2, 3]], [[7]])


def test_no_batch_is_larger_than_allowed_and_a_large_request_is_done_in_parts(worker):
    held = Held()
    held.go.set()
    job = worker.submit(Job("a", held, list(range(10))))
    assert job.done.result(10) == [2 * i for i in range(10)]
    assert [len(batch) for batch in held.batches] == [4, 4, 2]


def test_a_full_queue_refuses_with_the_time_to_wait(worker):
    held = Held()
    worker.submit(Job("a", held, [0]))
    until(lambda: held.batches)
    worker.submit(Job("a", held, list(range(8))))
    with pytest.raises(Refusal) as told:
        worker.submit(Job("a", held, [1]))
    assert (told.value.status, told.value.headers["Retry-After"]) == (429, "1")
    held.go.set()


def test_an_error_is_its_batchs_alone(worker):
    def broken(rows):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        worker.submit(Job("a", broken, [1])).done.result(10)
    held = Held()
    held.go.set()
    assert worker.submit(Job("a", held, [1])).done.result(10) == [2]


def test_whoever_leaves_frees_a_place_and_stops_what_is_for_nobody_else(worker):
    steps = []

    def growing(rows):
        for step in range(200):
            steps.append(step)
            time.sleep(0.01)
            yield [step]

    async def leaving():
        task = asyncio.ensure_future(finished(worker, Job("a", growing, [1])))
        while not steps:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leaving())
    held = Held()
    held.go.set()
    assert worker.submit(Job("b", held, [1])).done.result(10) == [2]
    assert len(steps) < 100


def test_a_job_whose_client_left_while_it_waited_is_not_done(worker):
    held = Held()
    first = worker.submit(Job("a", held, [0]))
    until(lambda: held.batches)
    waiting = worker.submit(Job("a", held, [5]))
    waiting.gone.set()
    held.go.set()
    assert first.done.result(10) == [0]
    last = worker.submit(Job("a", held, [1]))
    assert last.done.result(10) == [2]
    assert [5] not in held.batches
    assert not isinstance(last.done.exception(), Gone)


def test_an_image_does_not_depend_on_what_is_done_with_it(runs, tmp_path):
    """Thirty-two requests at once, of which each is asked again alone."""
    with serving([runs["blobs-painter"], runs["blobs-vae"]], tmp_path / "s.sqlite") as base:
        asked = [
            {"prompt": f"a blob {i % 3}", "model": model, "seed": i}
            for model in ("blobs-painter", "blobs-vae")
            for i in range(16)
        ]

        def made(body):
            answer = httpx.post(f"{base}/v1/images/generations", json=body, timeout=60)
            return answer.json()["data"][0]["b64_json"]

        async def together():
            async with httpx.AsyncClient(timeout=60) as client:
                url = f"{base}/v1/images/generations"
                answers = await asyncio.gather(*(client.post(url, json=body) for body in asked))
            return [answer.json()["data"][0]["b64_json"] for answer in answers]

        at_once = asyncio.run(together())
        assert at_once[::4] == [made(body) for body in asked[::4]]
        text = httpx.get(f"{base}/metrics").text
        batches = [line for line in text.splitlines() if line.startswith("pinxit_batches{")]
        assert sum(float(line.split()[-1]) for line in batches) < len(asked) + len(asked[::4])


def test_overload_gives_successes_and_429_alone(runs, tmp_path):
    with serving([runs["blobs-painter"]], tmp_path / "s.sqlite", waiting=4) as base:

        async def flood():
            async with httpx.AsyncClient(timeout=60) as client:
                url, body = f"{base}/v1/images/generations", {"prompt": "a blob"}
                return await asyncio.gather(*(client.post(url, json=body) for _ in range(60)))

        found = asyncio.run(flood())
        assert {answer.status_code for answer in found} == {200, 429}
        refused = next(answer for answer in found if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"


def test_a_streams_client_that_leaves_does_not_stop_the_server(runs, tmp_path):
    with serving([runs["blobs-painter"]], tmp_path / "s.sqlite") as base:
        client = client_of(base)
        tool = {"type": "image_generation", "partial_images": 3}
        for _ in range(3):
            stream = client.responses.create(
                model="gpt-5", input="a blob", tools=[tool], stream=True
            )
            next(iter(stream))
            stream.close()
        image = opened(client.images.generate(prompt="a blob").data[0].b64_json)
        assert np.asarray(image).shape == (8, 8)
