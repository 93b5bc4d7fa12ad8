"""What DATA may be. A source is any module in this folder that has a `KIND`.

Adding a file adds a source to every command and to `pinxit sources`; deleting it removes it.
None imports anything heavy before its images are listed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from pinxit.data.records import Kind, Source
from pinxit.errors import UsageError, did_you_mean


def kinds() -> tuple[Kind, ...]:
    """Every kind of source, in the order in which they are asked."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = [importlib.import_module(f"{__name__}.{name}").KIND for name in modules]
    return tuple(sorted(found, key=lambda kind: kind.rank))


def open_source(data: str | Path | Sequence[str | Path], *, seed: int = 0) -> Source:
    """The source that DATA means: a name, a path, or several image files.

    Raises UsageError where it means nothing; for a name, with the near one.
    """
    if not isinstance(data, str | Path):
        if len(data) != 1:
            from pinxit.data.sources.files import several

            return several([Path(item) for item in data])
        data = data[0]
    # a Path is never a name, though it looks like one
    text = str(data) if isinstance(data, str) or data.is_absolute() else f"./{data}"
    for kind in kinds():
        if (source := kind.find(text, seed)) is not None:
            return source
    raise UsageError(_unknown(text))


def _unknown(text: str) -> str:
    if Path(text).expanduser().exists():
        return f"{text} is no image and holds none that pinxit reads. See: pinxit sources"
    names = [name for kind in kinds() for name in kind.names()]
    return (
        f"no source '{text}': no such file or folder, and no known name."
        f"{did_you_mean(text, names)} See: pinxit sources"
    )
