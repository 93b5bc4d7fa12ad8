"""A lock on a run folder, so that two processes never train in it at once."""

from __future__ import annotations

import os
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


def _lock(folder: int, run: Run) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PinxitError(
            f"another process is training in {run.path}; wait for it, or stop it first."
        ) from None
    except OSError:  # a file system without locks
        pass
