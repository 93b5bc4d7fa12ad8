"""Write files atomically."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that a crash at any moment leaves the old file or the new one.

    The content is written to a temporary file in the same folder, which then replaces `path`. Text
    is written in UTF-8, with escapes for the bytes of names that are not UTF-8. An OSError names
    `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    content = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:  # such as a full disk or an interrupt
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise
    return path


def is_unfinished(name: str) -> bool:
    """Return whether a file has the name of a temporary one, which a killed process left."""
    return name.startswith(".") and name.endswith(".part")


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder and below it."""
    for path in list(folder.rglob(".*.part")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
