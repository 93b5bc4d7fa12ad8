"""Batching: shared batches, independent rows, the queue's limit, clients that disconnect."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import numpy as np
import pytest

from pinxit.models.generation import GenerationParams
from pinxit.serve.errors import ApiError
from pinxit.serve.inference.batching import BatchingWorker, Cancelled, Job, run_job
from pinxit.serve.inference.tasks import batch_key
from tests.serve.server import decode_png, make_client, serving, wait_until


class BlockedTask:
    """A task that waits for `release` and records its batches."""

    def __init__(self, *, released: bool = False):
        self.release, self.batches = threading.Event(), []
        if released:
            self.release.set()

    def __call__(self, rows):
        self.batches.append(list(rows))
        assert self.release.wait(10)
        yield [2 * row for row in rows]


@pytest.fixture
def worker():
    worker = BatchingWorker("test", max_queued_rows=8, max_batch_rows=4)
    yield worker
    worker.stop(5)


def test_queued_jobs_with_the_same_key_run_as_one_batch(worker):
    task, other = BlockedTask(), BlockedTask()
    jobs = [worker.submit(Job("a", task, [0]))]
    wait_until(lambda: task.batches)
    jobs += [worker.submit(Job("a", task, [i])) for i in (1, 2)]
    jobs += [worker.submit(Job("b", other, [7])), worker.submit(Job("a", task, [3]))]
    task.release.set()
    other.release.set()
    assert [job.future.result(10) for job in jobs] == [[0], [2], [4], [14], [6]]
    assert (task.batches, other.batches) == ([[0], [1, 2, 3]], [[7]])


def test_a_batch_key_ignores_seed_and_start_only():
    key = batch_key("draw", GenerationParams(seed=1, start=4, guidance=2.0))
    assert key == batch_key("draw", GenerationParams(seed=2, guidance=2.0))
    assert key != batch_key("draw", GenerationParams(seed=1, guidance=1.0))
    assert key != batch_key("edit", GenerationParams(seed=1, guidance=2.0))
    assert hash(key)


def test_a_job_larger_than_a_batch_runs_in_parts(worker):
    task = BlockedTask(released=True)
    job = worker.submit(Job("a", task, list(range(10))))
    assert job.future.result(10) == [2 * i for i in range(10)]
    assert [len(batch) for batch in task.batches] == [4, 4, 2]


def test_a_full_queue_refuses_a_job_with_the_time_to_wait(worker):
    task = BlockedTask()
    worker.submit(Job("a", task, [0]))
    wait_until(lambda: task.batches)
    worker.submit(Job("a", task, list(range(8))))
    with pytest.raises(ApiError, match=r"The queue is full; retry in 1 s\.") as error:
        worker.submit(Job("a", task, [1]))
    assert (error.value.status, error.value.headers["Retry-After"]) == (429, "1")
    task.release.set()


def test_an_error_fails_its_own_batch_only(worker):
    def fail(rows):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        worker.submit(Job("a", fail, [1])).future.result(10)
    task = BlockedTask(released=True)
    assert worker.submit(Job("a", task, [1])).future.result(10) == [2]


def test_a_cancelled_job_stops_early_and_frees_the_worker(worker):
    steps = []

    def count(rows):
        for step in range(200):
            steps.append(step)
            time.sleep(0.01)
            yield [step]

    async def cancel_after_the_first_step():
        task = asyncio.ensure_future(run_job(worker, Job("a", count, [1])))
        while not steps:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_after_the_first_step())
    task = BlockedTask(released=True)
    assert worker.submit(Job("b", task, [1])).future.result(10) == [2]
    assert len(steps) < 100


def test_a_job_cancelled_in_the_queue_never_runs(worker):
    task = BlockedTask()
    first = worker.submit(Job("a", task, [0]))
    wait_until(lambda: task.batches)
    queued = worker.submit(Job("a", task, [5]))
    queued.cancelled.set()
    task.release.set()
    assert first.future.result(10) == [0]
    last = worker.submit(Job("a", task, [1]))
    assert last.future.result(10) == [2]
    assert [5] not in task.batches
    assert not isinstance(last.future.exception(), Cancelled)


def test_an_image_does_not_depend_on_its_batch(runs, tmp_path):
    """32 requests at once; every fourth is sent again alone."""
    with serving([runs["blobs-draw"], runs["blobs-vae"]], tmp_path / "s.sqlite") as base_url:
        url = f"{base_url}/v1/images/generations"
        bodies = [
            {"prompt": f"a blob {i % 3}", "model": model, "seed": i}
            for model in ("blobs-draw", "blobs-vae")
            for i in range(16)
        ]

        def generate(body):
            response = httpx.post(url, json=body, timeout=60)
            return response.json()["data"][0]["b64_json"]

        async def generate_all():
            async with httpx.AsyncClient(timeout=60) as client:
                responses = await asyncio.gather(*(client.post(url, json=body) for body in bodies))
            return [response.json()["data"][0]["b64_json"] for response in responses]

        images = asyncio.run(generate_all())
        assert images[::4] == [generate(body) for body in bodies[::4]]
        metrics = httpx.get(f"{base_url}/metrics").text.splitlines()
        batches = [line for line in metrics if line.startswith("pinxit_batches_total{")]
        assert "# TYPE pinxit_batches_total counter" in metrics
        assert 'pinxit_queue_rows{model="blobs-vae"} 0.0' in metrics
        num_batches = sum(float(line.split()[-1]) for line in batches)
        assert 0 < num_batches < len(bodies) + len(bodies[::4])


def test_overload_gives_only_successes_and_429(runs, tmp_path):
    store = tmp_path / "s.sqlite"
    with serving([runs["blobs-draw"]], store, max_queued_rows=4) as base_url:

        async def send_60():
            async with httpx.AsyncClient(timeout=60) as client:
                url, body = f"{base_url}/v1/images/generations", {"prompt": "a blob"}
                return await asyncio.gather(*(client.post(url, json=body) for _ in range(60)))

        responses = asyncio.run(send_60())
        assert {response.status_code for response in responses} == {200, 429}
        refused = next(response for response in responses if response.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"


def test_the_server_survives_clients_that_disconnect_from_streams(runs, tmp_path):
    with serving([runs["blobs-draw"]], tmp_path / "s.sqlite") as base_url:
        client = make_client(base_url)
        tool = {"type": "image_generation", "partial_images": 3}
        for _ in range(3):
            stream = client.responses.create(
                model="gpt-5", input="a blob", tools=[tool], stream=True
            )
            next(iter(stream))
            stream.close()
        image = decode_png(client.images.generate(prompt="a blob").data[0].b64_json)
        assert np.asarray(image).shape == (8, 8)
