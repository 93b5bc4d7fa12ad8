"""A lock on a run folder, so that two processes never train in it at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pinxit.errors import PinxitError
from pinxit.runs import Run

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: no lock
    fcntl = None


LOCK_TRIALS, TRIAL_SECONDS = 5, 0.02  # `is_locked` holds the lock for some microseconds


@contextmanager
def lock_run(run: Run) -> Iterator[None]:
    """Hold the folder of a run, or of the run that it is part of.

    The lock ends with the process, however that ends, and leaves no file. Raises PinxitError if
    another process holds it.
    """
    if fcntl is None:
        yield
        return
    folder = os.open(run.owner.path, os.O_RDONLY)
    try:
        _lock(folder, run.owner)
        yield
    finally:
        os.close(folder)


def is_locked(run: Run) -> bool | None:
    """Return whether a process trains in the folder of a run; None if that cannot be known."""
    if fcntl is None:
        return None
    try:
        folder = os.open(run.owner.path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(folder)
    return False


def _lock(folder: int, run: Run) -> None:
    for trial in range(LOCK_TRIALS):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if trial + 1 < LOCK_TRIALS:
                time.sleep(TRIAL_SECONDS)
        except OSError:  # a file system without locks
            return
        else:
            return
    raise PinxitError(
        f"another process is training in {run.path}; wait for it, or stop it first."
    ) from None
