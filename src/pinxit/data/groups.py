"""Groups: images that show the same thing, such as the frames of a video, and stay in one split.

A group is a value of the column `base` or `group` of a source, or of the column that `--group-by`
names; or images are grouped by their names: `cat_001.png` and `cat_002.png` are a burst.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from pinxit.console import pluralize
from pinxit.data.records import Record
from pinxit.errors import UsageError

# columns that name a group, the preferred one first: in sets with both, such as the emoji,
# `group` is a category
GROUP_COLUMNS = ("base", "group")
MODES = ("auto", "none", "burst")  # values of --group-by that are not columns


class NoGroups(UsageError):
    """A source in which `--group-by` makes no group."""


# in front of an image's name in the shards that `pinxit shard` writes
_SHARD_AND_NUMBER = re.compile(r"(?:^|(?<=/))shard-\d{6}/\d{8}-(?=[^/]*$)")
_FINAL_NUMBER = re.compile(r"[-_.\s]*\(?\d+\)?$")


def group_columns(group_by: str) -> tuple[str, ...]:
    """Return the columns to look for a group in, in order of preference."""
    if group_by == "auto":
        return GROUP_COLUMNS
    return () if group_by in MODES else (group_by,)


def parse_group(row: Mapping[str, Any], group_by: str = "auto") -> str | None:
    """Return the group that a row of metadata names, or None.

    Names of groups of different columns differ.

    >>> parse_group({"base": "wave", "group": "people"})
    'base=wave'
    """
    for column in group_columns(group_by):
        value = row.get(column)
        if isinstance(value, str | int | float) and str(value).strip() not in ("", "nan"):
            return f"{column}={str(value).strip()}"
    return None


def burst_of(name: str) -> str | None:
    """Return an image's name up to its final number, with its folder; None without a number.

    The shards of `pinxit shard` and the numbers there are no part of the name; folders are lost.

    >>> burst_of("walk/cat_017.png"), burst_of("shard-000002/00002345-cat_017")
    ('walk/cat', './cat')
    """
    path = PurePosixPath(_SHARD_AND_NUMBER.sub("", name))
    stem = path.name if path.suffix[1:].isdecimal() else path.stem
    match = _FINAL_NUMBER.search(stem)
    return f"{path.parent}/{stem[: match.start()]}" if match else None


def describe_groups(records: Sequence[Record], groups: np.ndarray, group_by: str) -> str:
    """Return a note on the groups, and on how to load images without them."""
    names = [] if group_by == "burst" else [record.group for record in records if record.group]
    count = np.count_nonzero(np.unique(groups, return_counts=True)[1] > 1)
    return describe_number_of_groups(int(count), names)


def describe_number_of_groups(count: int, names: Iterable[str]) -> str:
    """Return a note on a number of groups, by the columns of `names`, or by name if it is empty."""
    columns = sorted({name.split("=")[0] for name in names})
    by = " and ".join(f"`{name}`" for name in columns) or "name"
    number = pluralize(count, "group")
    return f"{number} of images by {by}, none in two splits; --group-by none ignores them"


def describe_no_groups(source: str, group_by: str) -> str:
    """Return the error for a `group_by` that makes no group."""
    what = "a name but for its final number" if group_by == "burst" else f"a value of `{group_by}`"
    return f"no two images of {source} share {what}."


def index_groups(records: Sequence[Record], group_by: str = "auto") -> np.ndarray | None:
    """Return the group of each record, int64 `[n]`: equal numbers for images of one group.

    Images without a group have a number of their own. None if no two images are in one group.
    """
    if group_by == "none":
        return None
    if group_by == "burst":
        names = [burst_of(record.name) for record in records]
    else:
        names = [record.group for record in records]
    number_of: dict[str | int, int] = {}
    # the record's index is the key of an image without a group
    keys = [i if name is None else name for i, name in enumerate(names)]
    groups = np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)
    return groups if len(number_of) < len(groups) else None
