"""Threads by what they wait for, so that one slow thing does not stall the rest.

The store has `asyncio.to_thread`'s pool: a database that is locked or hangs keeps it busy. Requests
are read in a pool of their own, large, since a thread may wait for another server or for the store.
Images are decoded, resized and encoded by as many at a time as there are cores.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

has_affinity = hasattr(os, "sched_getaffinity")
NUM_CORES = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1

SHORT_CHARS = 2_000  # of texts that are read in less time than a thread takes to start

_reading = ThreadPoolExecutor(16, "pinxit-read")
_images = ThreadPoolExecutor(NUM_CORES, "pinxit-image")


async def read_in_thread(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run what reads a request: it may load from the store, or from another server."""
    return await _run(_reading, work, *args, **options)


async def read_in_thread_if(
    is_long: bool, work: Callable[P, T], *args: P.args, **options: P.kwargs
) -> T:
    """Run what reads a request in a thread if it takes long; handing it over takes 0.1 ms."""
    return await read_in_thread(work, *args, **options) if is_long else work(*args, **options)


async def work_on_images(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run what decodes, resizes or encodes images. It waits for nothing but the processor."""
    return await _run(_images, work, *args, **options)


async def _run(pool: ThreadPoolExecutor, work: Callable[..., T], *args: Any, **options: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *args, **options))
