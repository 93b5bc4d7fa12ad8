"""One thread a model: what waits together and is of one kind is done together.

Each row of a batch has its own seed, so what a request gets does not depend on its neighbours.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from pinxit.serve.errors import busy

WAITING = 256  # rows that may wait for one model
TOGETHER = 64  # rows of one batch; more of one request are done in several

# rows of all requests in a batch to results for each, as they grow; the last are whole
Task = Callable[[Sequence[Any]], Iterable[Sequence[Any]]]


class Gone(Exception):
    """Whoever asked for it has left."""


@dataclass(eq=False)
class Job:
    """Rows of one request, and where their results go."""

    kind: Hashable  # jobs of one kind can be done together: ability and options
    task: Task
    rows: Sequence[Any]
    growing: Callable[[Sequence[Any]], None] | None = None  # called in the worker's thread
    done: Future[list[Any]] = field(default_factory=Future)
    gone: threading.Event = field(default_factory=threading.Event)


class Worker:
    """A thread that does jobs in turn, those of the first one's kind together with it."""

    def __init__(self, name: str, waiting: int = WAITING, together: int = TOGETHER) -> None:
        self.name, self.waiting, self.together = name, waiting, together
        self.batches = 0
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=f"worker {name}", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Rows that wait."""
        with self._changed:
            return sum(len(job.rows) for job in self._jobs)

    def submit(self, job: Job) -> Job:
        """Raises Refusal where too many rows wait already, or the server is stopping."""
        with self._changed:
            waiting = sum(len(one.rows) for one in self._jobs if not one.gone.is_set())
            if self._stopping or (waiting and waiting + len(job.rows) > self.waiting):
                raise busy()
            self._jobs.append(job)
            self._changed.notify()
        return job

    def stop(self, seconds: float = 30.0) -> None:
        """What runs is finished; what waits is refused."""
        with self._changed:
            self._stopping = True
            waiting, self._jobs = list(self._jobs), deque()
            self._changed.notify()
        for job in waiting:
            if job.done.set_running_or_notify_cancel():
                job.done.set_exception(busy())
        self._thread.join(seconds)

    # -- in the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            for some in _split(batch, self.together):
                self._do(some)
            batch = some = None  # a result may be large: it is not held while the thread waits

    def _next(self) -> list[Job] | None:
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            batch: list[Job] = []
            for job in list(self._jobs):
                if batch and job.kind != batch[0].kind:
                    continue
                if batch and sum(len(one.rows) for one in [*batch, job]) > self.together:
                    break
                self._jobs.remove(job)
                if job.done.set_running_or_notify_cancel() and not job.gone.is_set():
                    batch.append(job)
            return batch

    def _do(self, batch: list[Job]) -> None:
        self.batches += 1
        try:
            results: Sequence[Any] = ()
            for results in batch[0].task([row for job in batch for row in job.rows]):
                for job, own in _shared_out(batch, results):
                    if job.growing is not None and not job.gone.is_set():
                        job.growing(own)
                if all(job.gone.is_set() for job in batch):
                    raise Gone()
            for job, own in _shared_out(batch, results):
                job.done.set_result(list(own))
        except BaseException as error:
            for job in batch:
                if not job.done.done():
                    job.done.set_exception(error)


def _split(batch: list[Job], together: int) -> Iterator[list[Job]]:
    """One request of more rows than are done together is done in parts, joined when all are."""
    if len(batch) != 1 or len(batch[0].rows) <= together:
        if batch:
            yield batch
        return
    whole = batch[0]
    done: list[Any] = []
    for start in range(0, len(whole.rows), together):
        rows = whole.rows[start : start + together]
        part = Job(whole.kind, whole.task, rows, None, gone=whole.gone)
        yield [part]
        error = part.done.exception()
        if error is not None:
            whole.done.set_exception(error)
            return
        done += part.done.result()
    whole.done.set_result(done)


def _shared_out(
    batch: Sequence[Job], results: Sequence[Any]
) -> Iterator[tuple[Job, Sequence[Any]]]:
    at = 0
    for job in batch:
        yield job, results[at : at + len(job.rows)]
        at += len(job.rows)


async def finished(worker: Worker, job: Job) -> list[Any]:
    """The results of a job; a caller that is cancelled frees its place."""
    worker.submit(job)
    try:
        return await asyncio.wrap_future(job.done)
    except asyncio.CancelledError:
        job.gone.set()
        raise
