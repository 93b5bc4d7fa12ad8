"""Memory of large images, given back to the system when they are freed."""

from __future__ import annotations

import ctypes

LARGE_BYTES = 4 * 2**20  # blocks from which on the system is asked for each, and gets it back
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def release_large_blocks() -> None:
    """Have glibc give large blocks back at once; does nothing elsewhere.

    By itself it raises its threshold with each large block that is freed, and keeps those of every
    thread: a server that had edited one image of 40 megapixels kept 500 MiB.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)


def release_free_memory() -> None:
    """Have glibc give back what is free between blocks in use, of all threads; else nothing.

    Takes some milliseconds: for use after a request with large images, in a thread.
    """
    try:
        malloc_trim = ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return
    malloc_trim(0)
