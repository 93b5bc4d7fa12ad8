"""`pinxit cache`: show, bound and clear the decoded images that are kept on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pinxit import console
from pinxit.cli.common import Flag, Json
from pinxit.console import format_bytes, format_duration, pluralize
from pinxit.data.cache import cache_dir
from pinxit.data.cache_entries import (
    CacheEntry,
    enforce_max_size,
    list_entries,
    list_leftovers,
    parse_bytes,
    read_max_size,
    remove_leftovers,
    set_max_size,
)
from pinxit.errors import UsageError


def cache(max_size: str | None = None, clear: Flag = False, json: Json = False) -> None:
    """Show what the cache holds: decoded images and feature spaces, the last used first.

    All of it is made again when it is needed. What killed processes left is removed.

    Examples:
        pinxit cache
        pinxit cache --max-size 20GB
        pinxit cache --clear

    Args:
        max_size: bound of the cache, now and from now on, such as 20GB: the least recently used
            entries are removed; `none` removes the bound
        clear: remove all entries
        json: print JSON
    """
    if clear and max_size is not None:
        raise UsageError("give --clear or --max-size, not both.")
    root = cache_dir()
    bound = None if max_size in (None, "none") else parse_bytes(str(max_size))
    leftover = sum(1 for _ in list_leftovers(root))
    freed, removed = remove_leftovers(root), []
    if max_size is not None:
        set_max_size(root, bound)
    if clear or max_size is not None:
        removed = enforce_max_size(root, -1 if clear else bound)
        freed += sum(entry.size for entry in removed)
    entries = list_entries(root)
    if json:
        console.out_json(
            {
                "folder": str(root),
                "size": sum(entry.size for entry in entries),
                "max_size": read_max_size(root),
                "freed": freed,
                "entries": [_to_json(entry) for entry in entries],
            }
        )
        return
    if removed or leftover:
        what = [pluralize(len(removed), "data set")] if removed else []
        what += [pluralize(leftover, "unfinished folder")] if leftover else []
        console.out(f"removed {' and '.join(what)}: {format_bytes(freed)}")
    console.out("\n".join(_table(entries)))
    bounded = read_max_size(root)
    limit = "" if bounded is None else f" of at most {format_bytes(bounded)}"
    total = format_bytes(sum(entry.size for entry in entries))
    console.out(f"{total}{limit} in {root} (PINXIT_CACHE)")


def _to_json(entry: CacheEntry) -> dict[str, Any]:
    return {
        "path": str(entry.paths[0]),
        "kind": entry.kind,
        "source": entry.source,
        "size": entry.size,
        "used": entry.used,
    }


def _table(entries: Sequence[CacheEntry]) -> list[str]:
    if not entries:
        return ["the cache is empty"]
    rows = [("SIZE", "LAST USED", "KIND", "SOURCE")]
    for entry in entries:
        ago = format_duration(max(0.0, time.time() - entry.used))
        source = entry.source or "(of an older version)"
        rows.append((format_bytes(entry.size), f"{ago} ago", entry.kind, source))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
