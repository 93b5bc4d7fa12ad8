"""The log of faults: nothing that a client or a run has written stands in it."""

from __future__ import annotations

import logging
import traceback

from pinxit.serve.errors import truncate

# of the system and of torch, which say what is missing; others may repeat a prompt
SHOWN_MESSAGES = (OSError, RuntimeError, MemoryError)

log = logging.getLogger("pinxit.serve")


def log_fault(what: str, error: BaseException) -> None:
    """Log an unexpected exception: its type, its place, and its message where that is safe."""
    text = f": {truncate(error, 300)}" if isinstance(error, SHOWN_MESSAGES) else ""
    places = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s failed: %s%s\n%s", what, type(error).__name__, text, places.rstrip())
