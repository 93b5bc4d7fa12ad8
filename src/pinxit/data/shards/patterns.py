"""Shards that a pattern names: `shards/{000..009}.tar`, `data/train-*.parquet`."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pinxit.data.home_folder import expand_home
from pinxit.errors import UsageError

MAX_FILES = 1_000_000  # that braces may name

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)", re.ASCII)


def is_pattern(data: str, suffix: str) -> bool:
    """Return whether DATA is a pattern of files with this suffix, and no file itself."""
    has_suffix = data.lower().endswith(suffix) or (data.endswith("}") and suffix in data.lower())
    is_special = _BRACES.search(data) is not None or glob.has_magic(data)
    return has_suffix and is_special and "://" not in data and not os.path.lexists(data)


def find_matches(data: str) -> tuple[Path, list[Path]]:
    """Return the folder that holds all files of a pattern, and the files, sorted.

    Raises UsageError if there is none, and for a file that braces name and that is missing.
    """
    files: set[Path] = set()
    for name in expand_braces(str(expand_home(data))):
        found = glob.glob(name) if glob.has_magic(name) else [name]  # noqa: PTH207 (a whole path)
        files.update(
            path for path in map(Path, found) if path.is_file() or not glob.has_magic(name)
        )
    missing = sorted(path for path in files if not path.is_file())
    if missing:
        rest = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UsageError(f"{data} names files that do not exist: {missing[0]}{rest}.")
    if not files:
        raise UsageError(f"no file matches {data}.")
    return Path(os.path.commonpath([path.parent for path in files])), sorted(files)


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield what a pattern with braces stands for, in the shell's order.

    >>> list(expand_braces("{a,b}-{08..10}"))
    ['a-08', 'a-09', 'a-10', 'b-08', 'b-09', 'b-10']

    Braces with neither a comma nor a range stand for themselves. Raises UsageError for more than
    `MAX_FILES`.
    """
    parts = [_alternatives(part) for part in re.split(r"(\{[^{}]*\})", pattern)]
    total = 1
    for part in parts:
        total *= len(part)
        if total > MAX_FILES:
            raise UsageError(f"{pattern} names more than {MAX_FILES:,} files.")
    names = [""]
    for part in parts:
        names = [name + text for name in names for text in part]
    yield from names


def _alternatives(part: str) -> list[str]:
    braces = _BRACES.fullmatch(part)
    if braces is None:
        return [part]
    if match := _RANGE.fullmatch(braces[1]):
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= MAX_FILES:
            raise UsageError(f"{part} names more than {MAX_FILES:,} files.")
        is_padded = any(len(end) > 1 and end[0] == "0" for end in match.groups())
        width = max(map(len, match.groups())) if is_padded else 0
        step = 1 if first <= last else -1
        return [f"{i:0{width}d}" for i in range(first, last + step, step)]
    return braces[1].split(",") if "," in braces[1] else [part]
