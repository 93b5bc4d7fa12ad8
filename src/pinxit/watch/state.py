"""The state of a training in this process, as the page reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.watch.progress import file_signature, read_progress, version_of

POLL_SECONDS = 1.0  # between looks at the files while a page waits for a change
WAIT_SECONDS = 20.0  # that a page's request waits for one
GRACE_SECONDS = 3.0  # at the end, for open pages to load the last state
QUIET_SECONDS = 0.5  # without a request, after which they have it
OPEN_SECONDS = 2.0  # since the last request: a page is open

Outcome = tuple[str, str]  # finished, stopped or failed; and a message


@dataclass
class WatchedTraining:
    """What trains in this process: first nothing, then a run, at last how it ended."""

    can_stop: Callable[[], bool] = lambda: False
    request_stop: Callable[[], bool] = lambda: False
    run: Run | None = None  # None until its folder is created
    outcome: Outcome | None = None
    is_stopping: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _key: object = None  # of the record that is kept
    _record: dict[str, Any] = field(default_factory=dict)
    _waiting: int = 0  # requests in progress
    _last_request: float = -OPEN_SECONDS

    def show(self, run: Run) -> None:
        """Show a run, from when its folder exists."""
        with self._changed:
            self.run = run
            self._changed.notify_all()

    def stop(self) -> bool:
        """Request the end of training as Ctrl-C does; return False if no step runs yet."""
        if not self.request_stop():
            return False
        with self._changed:
            self.is_stopping = True
            self._changed.notify_all()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Tell waiting pages how training ended."""
        with self._changed:
            self.outcome = _describe_end(self.run, error)
            self._changed.notify_all()

    def read(self) -> dict[str, Any]:
        """Return the state as JSON, with a `version` that changes when it does."""
        with self._changed:
            key = (self.outcome, self.is_stopping, self.can_stop(), file_signature(self.run))
            if key != self._key:
                self._key = key
                self._record = {**self._describe(), "version": version_of(key)}
            return {**self._record, "now": time.time()}

    def wait_for_change(self, version: str) -> dict[str, Any]:
        """Return the state as soon as it has another version, or after `WAIT_SECONDS`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            record = self.read()
            if record["version"] != version or time.monotonic() >= deadline:
                return record
            with self._changed:
                self._changed.wait(POLL_SECONDS)

    def count_request(self, change: int) -> None:
        """Count a request that begins (1) or ends (-1)."""
        with self._changed:
            self._waiting += change
            self._last_request = time.monotonic()

    def wait_for_pages(self) -> None:
        """Return when open pages have the last state; at once if there are none."""
        start = time.monotonic()
        if not self._waiting and start - self._last_request > OPEN_SECONDS:
            return
        while (now := time.monotonic()) - start < GRACE_SECONDS:
            if not self._waiting and now - max(self._last_request, start) > QUIET_SECONDS:
                return
            time.sleep(0.05)

    def _describe(self) -> dict[str, Any]:
        if self.run is None:
            record: dict[str, Any] = {"run": "", "status": "preparing", "stages": []}
        else:
            record = read_progress(self.run, is_running=self.outcome is None)
        message = ""
        if self.outcome is not None:
            status, message = self.outcome
            record |= {"status": status}
        record |= {
            "message": message,
            "has_ended": self.outcome is not None,
            "can_stop": self.can_stop() and not self.is_stopping,
            "is_stopping": self.is_stopping,
        }
        return record


def _describe_end(run: Run | None, error: BaseException | None) -> Outcome:
    path = "" if run is None else str(run.path)
    if error is None:
        return "finished", f"the run is in {path}" if path else ""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", str(error)
    if isinstance(error, PinxitError):
        return "failed", str(error)
    return "failed", f"{type(error).__name__}: {error}"
