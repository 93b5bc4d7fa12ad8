"""A lock on a run folder, so that two processes never train in it at once."""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from pinxit.data.atomic_write import write_atomically
from pinxit.data.typed_json import convert_json, read_json
from pinxit.errors import PinxitError
from pinxit.runs import Run

LOCK_FILE, SOFT_LOCK_FILE, OWNER_FILE = ".lock", ".lock.soft", ".owner.json"
# what flock says on a file system without it, such as some network folders
NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class Owner(TypedDict):
    """The process that trains a run."""

    pid: int
    host: str


@contextmanager
def lock_run(run: Run) -> Iterator[None]:
    """Hold the folder of a run, or of the run that it is part of.

    The lock ends with the process, however that ends; where the file system has no such locks, it
    is a file, which is taken over from a process that has ended on this machine. Raises PinxitError
    if another process holds it, or if the folder cannot be written.
    """
    run = run.owner
    try:
        lock = _acquire(run)
    except OSError as error:
        raise PinxitError(f"cannot write to {run.path}: {error.strerror or error}.") from None
    try:
        yield
    finally:
        (run.path / OWNER_FILE).unlink(missing_ok=True)
        lock.release()


def is_locked(run: Run) -> bool | None:
    """Return whether a process trains in the folder of a run; None if another machine's may."""
    owner = _read_owner(run.owner)
    if owner is None:
        return False
    return None if owner["host"] != _hostname() else not _has_ended(owner)


def _acquire(run: Run) -> BaseFileLock:
    lock = _try_lock(FileLock(run.path / LOCK_FILE, timeout=0), run)
    if lock is None:
        lock = _try_lock(SoftFileLock(run.path / SOFT_LOCK_FILE, timeout=0), run)
        assert lock is not None, "needs no flock"
    owner = f'{{"pid": {os.getpid()}, "host": "{_hostname()}"}}\n'
    try:
        write_atomically(run.path / OWNER_FILE, owner)
    except BaseException:
        lock.release()
        raise
    return lock


def _try_lock(lock: BaseFileLock, run: Run) -> BaseFileLock | None:
    """Acquire a lock; None if the file system has none of the kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it falls back to a file
            lock.acquire()
    except Timeout:
        owner = _read_owner(run)
        if isinstance(lock, SoftFileLock) and owner is not None and _has_ended(owner):
            (run.path / OWNER_FILE).unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)
            return _try_lock(lock, run)
        raise PinxitError(
            f"{run.path} is being trained by {_describe(owner)}; wait for it, or stop it first."
        ) from None
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in NO_FLOCK and not isinstance(lock, SoftFileLock):
            return None
        raise
    return lock


def _read_owner(run: Run) -> Owner | None:
    try:
        return convert_json(read_json(run.path / OWNER_FILE), Owner, OWNER_FILE)
    except (OSError, PinxitError):  # not written yet, or damaged
        return None


def _describe(owner: Owner | None) -> str:
    if owner is None:
        return "another process"
    elsewhere = "" if owner["host"] == _hostname() else f" on {owner['host']}"
    return f"process {owner['pid']}{elsewhere}"


def _has_ended(owner: Owner) -> bool:
    """Return whether a process of this machine has ended; False for one of another machine."""
    if owner["host"] != _hostname() or owner["pid"] <= 0:
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _hostname() -> str:
    return socket.gethostname().replace('"', "").replace("\\", "")
