"""Write files atomically."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pinxit.data.home_folder import expand_home


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that a crash at any moment leaves the old file or the new one.

    The content is written to a temporary file in the same folder, which then replaces `path`. Text
    is written in UTF-8, with escapes for the bytes of names that are not UTF-8. An OSError names
    `path`.
    """
    content = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with open_atomically(path) as file:
        file.write(content)
    return expand_home(path)


@contextmanager
def open_atomically(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file to write its content part by part; it replaces `path` when the block ends.

    A block that raises leaves the old file as it is. Several processes, also of several machines,
    may write the same file: each has a temporary file of its own, and the last to finish wins.
    An OSError names `path`.
    """
    path = expand_home(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:  # such as a full disk or an interrupt
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise


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
