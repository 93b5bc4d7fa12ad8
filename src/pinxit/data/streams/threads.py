"""How many threads decode the images of a stream."""

from __future__ import annotations

import os

from pinxit.data.parallel_decode import MAX_THREADS


def num_threads() -> int:
    """Return the number of threads: one per core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4
    return min(MAX_THREADS, cores)
