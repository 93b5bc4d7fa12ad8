"""How many threads decode the images of a stream."""

from __future__ import annotations

import os

from pinxit.data.parallel_decode import MAX_THREADS


def num_threads() -> int:
    """Return the number of threads: one per core, shared with the other processes of a training."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    share = cores // max(1, int(processes)) if processes.isdecimal() else cores
    return max(1, min(MAX_THREADS, share))
