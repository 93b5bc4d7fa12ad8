"""One thread per model: queued jobs with the same batch key run as one batch.

Each row of a batch has its own seed, so a result does not depend on the other rows.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pinxit.nn.interruption import interruptible
from pinxit.serve.errors import queue_full

MAX_QUEUED_ROWS = 256  # for each model; more are refused with 429
MAX_BATCH_ROWS = 64  # a job with more rows runs in several batches

# rows of a batch -> their results, yielded as they improve; the last ones are complete
Task = Callable[[Sequence[Any]], Iterable[Sequence[Any]]]


class Cancelled(Exception):
    """Every client of the batch has disconnected."""


@dataclass(eq=False)
class Job:
    """Input rows of one request, and the future of its results."""

    batch_key: Hashable  # jobs with equal keys can run together: ability and options
    task: Task
    rows: Sequence[Any]
    on_progress: Callable[[Sequence[Any]], None] | None = None  # called in the worker's thread
    future: Future[list[Any]] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)


class BatchingWorker:
    """A thread that runs jobs in order, each with the queued jobs of the same batch key."""

    def __init__(
        self,
        name: str,
        max_queued_rows: int = MAX_QUEUED_ROWS,
        max_batch_rows: int = MAX_BATCH_ROWS,
    ) -> None:
        self.name = name
        self.max_queued_rows, self.max_batch_rows = max_queued_rows, max_batch_rows
        self.num_batches = 0
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"worker {name}", daemon=True)
        self._thread.start()

    @property
    def num_queued_rows(self) -> int:
        with self._changed:
            return sum(len(job.rows) for job in self._jobs)

    def submit(self, job: Job) -> Job:
        """Queue a job. Raises ApiError (429) if the queue is full or the worker is stopping.

        An empty queue takes a job of any size.
        """
        with self._changed:
            num_rows = sum(len(other.rows) for other in self._jobs if not other.cancelled.is_set())
            is_full = num_rows > 0 and num_rows + len(job.rows) > self.max_queued_rows
            if self._stopping or is_full:
                raise queue_full()
            self._jobs.append(job)
            self._changed.notify()
        return job

    def stop(self, timeout: float = 30.0) -> None:
        """Finish the running batch, refuse all queued jobs, and end the thread."""
        with self._changed:
            self._stopping = True
            queued, self._jobs = list(self._jobs), deque()
            self._changed.notify()
        for job in queued:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(queue_full())
        self._thread.join(timeout)

    # -- in the worker's thread -----------------------------------------------------------------

    def _run(self) -> None:
        while (jobs := self._next_jobs()) is not None:
            for batch in _split_large_job(jobs, self.max_batch_rows):
                self._run_batch(batch)
            jobs = batch = None  # frees the results while the thread waits

    def _next_jobs(self) -> list[Job] | None:
        """Wait for a job. Return it with all that can run in its batch; None when stopping."""
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            batch: list[Job] = []
            for job in list(self._jobs):
                if batch and job.batch_key != batch[0].batch_key:
                    continue
                if batch and sum(len(j.rows) for j in [*batch, job]) > self.max_batch_rows:
                    break
                self._jobs.remove(job)
                if job.future.set_running_or_notify_cancel() and not job.cancelled.is_set():
                    batch.append(job)
            return batch

    def _run_batch(self, batch: list[Job]) -> None:
        def check() -> None:
            if all(job.cancelled.is_set() for job in batch):
                raise Cancelled

        self.num_batches += 1
        try:
            results: Sequence[Any] = ()
            with interruptible(check):  # between the steps of a model, too
                check()
                for results in batch[0].task([row for job in batch for row in job.rows]):
                    for job, job_results in _split_results(batch, results):
                        if job.on_progress is not None and not job.cancelled.is_set():
                            job.on_progress(job_results)
                    check()
            for job, job_results in _split_results(batch, results):
                job.future.set_result(list(job_results))
        except BaseException as error:
            for job in batch:
                if not job.future.done():
                    job.future.set_exception(error)


def _split_large_job(jobs: list[Job], max_rows: int) -> Iterator[list[Job]]:
    """Yield the jobs as one batch; yield a job of more rows in parts, and join their results."""
    if len(jobs) != 1 or len(jobs[0].rows) <= max_rows:
        if jobs:
            yield jobs
        return
    job = jobs[0]
    results: list[Any] = []
    for start in range(0, len(job.rows), max_rows):
        rows = job.rows[start : start + max_rows]
        part = Job(job.batch_key, job.task, rows, cancelled=job.cancelled)
        yield [part]
        error = part.future.exception()
        if error is not None:
            job.future.set_exception(error)
            return
        results += part.future.result()
    job.future.set_result(results)


def _split_results(
    batch: Sequence[Job], results: Sequence[Any]
) -> Iterator[tuple[Job, Sequence[Any]]]:
    """Yield each job of a batch with the results of its own rows."""
    start = 0
    for job in batch:
        yield job, results[start : start + len(job.rows)]
        start += len(job.rows)


async def run_job(worker: BatchingWorker, job: Job) -> list[Any]:
    """Submit a job and return its results. Cancelling the caller cancels the job."""
    worker.submit(job)
    try:
        return await asyncio.wrap_future(job.future)
    except asyncio.CancelledError:
        job.cancelled.set()
        raise
