"""`~` in paths: shells expand it, but not after `=`, and Python does not."""

from __future__ import annotations

import os
from pathlib import Path


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` and `~NAME` as home folders; where there is no such user, unchanged.

    `~draft.png` is then a file of that name.
    """
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:  # no such user
        return path
