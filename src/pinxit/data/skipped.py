"""What a source contains and is not used: with the reason, and counted in one line per reason."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pinxit.console import pluralize

Kind = Literal["file", "record", "folder"]

MAX_NAMES = 3  # that a line lists; more files are counted by ending
MAX_LINES = 12  # reasons that have a line of their own
SHEET_SOFTWARE = "pinxit look"  # in the PNG file of a contact sheet
SYSTEM_REASON = "made by the operating system or version control"

_SYSTEM_FILES = frozenset(
    (
        *(".ds_store", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
        *(".localized", ".directory", ".volumeicon.icns", ".apdisk", "picasa.ini", ".picasa.ini"),
        *(".gitignore", ".gitattributes", ".gitkeep", ".gitmodules"),
    )
)
_SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", ".@__thumb", "@__thumb", ".thumbnails", ".thumbs", ".xvpics"),
        *("$recycle.bin", "recycler", "#recycle", "@recycle", ".trash", ".trashes", "lost+found"),
        *("__macosx", ".appledouble", ".ds_store", ".spotlight-v100", ".fseventsd"),
        *("system volume information", "#snapshot", ".snapshot", ".temporaryitems"),
        *(".picasaoriginals", ".git", ".hg", ".svn", ".dvc"),
    )
)


@dataclass(frozen=True)
class SkippedFile:
    """A file of a source that is not used, or a record of a file, and why."""

    name: str
    reason: str
    kind: Kind = "file"


def is_system_file(path: str) -> bool:
    """Return whether a file is no content: thumbnails, trash, settings of folders, versions."""
    *folders, name = path.lower().split("/")
    return (
        any(map(is_system_folder, folders))
        or name in _SYSTEM_FILES
        or name.startswith(("._", "thumbs.db:"))  # the other fork of a file from a Mac
        or name.endswith(":zone.identifier")  # where Windows says that a file was downloaded
    )


def is_system_folder(name: str) -> bool:
    """Return whether a folder of this name holds thumbnails, trash or the like."""
    name = name.lower()
    return name in _SYSTEM_FOLDERS or name.startswith(".trash-")


def without_system_files(skipped: Iterable[SkippedFile]) -> list[SkippedFile]:
    """Return what the user may miss: all but files of operating systems and version control."""
    return [file for file in skipped if file.reason != SYSTEM_REASON]


def summarize_skipped(skipped: Sequence[SkippedFile]) -> list[str]:
    """Return a line for each reason, with the number of files and their endings.

    >>> summarize_skipped([SkippedFile(f"{i}.dcm", "not supported") for i in range(5)])
    ['5 files not read: .dcm 5 (not supported)']
    """
    ordered = _group_by_reason(skipped)
    if len(ordered) > MAX_LINES:
        rest = [file for files in ordered[MAX_LINES - 1 :] for file in files]
        return [*map(_summarize, ordered[: MAX_LINES - 1]), _summarize(rest, "several reasons")]
    return list(map(_summarize, ordered))


def files_without_names(skipped: Sequence[SkippedFile]) -> list[SkippedFile]:
    """Return what `summarize_skipped` counts without naming it."""
    groups = _group_by_reason(skipped)
    hidden = groups[MAX_LINES - 1 :] if len(groups) > MAX_LINES else []
    return [file for group in groups if len(group) > MAX_NAMES or group in hidden for file in group]


def _group_by_reason(skipped: Sequence[SkippedFile]) -> list[list[SkippedFile]]:
    """Group by kind and reason: files before records and folders, large groups first."""
    groups: dict[tuple[Kind, str], list[SkippedFile]] = {}
    for file in skipped:
        # reasons that differ only in numbers are one: "1 x 1 pixels: too small"
        groups.setdefault((file.kind, re.sub(r"\d[\d,.]*", "#", file.reason)), []).append(file)
    return sorted(groups.values(), key=lambda files: (files[0].kind != "file", -len(files)))


def _summarize(files: Sequence[SkippedFile], reason: str | None = None) -> str:
    if reason is None:
        is_one = len({file.reason for file in files}) == 1
        reason = files[0].reason if is_one else f"such as: {files[0].reason}"
    verb = "not used" if files[0].kind == "record" else "not read"
    return f"{pluralize(len(files), files[0].kind)} {verb}: {_names_or_endings(files)} ({reason})"


def _names_or_endings(files: Sequence[SkippedFile]) -> str:
    if len(files) <= MAX_NAMES:
        return ", ".join(file.name for file in files)
    counts = Counter(map(_ending, files))
    return ", ".join(f"{ending} {count:,}" for ending, count in counts.most_common())


def _ending(file: SkippedFile) -> str:
    """Return the suffix of a file, or the file of a record: `metadata.csv` of its record 3."""
    if file.kind == "record":
        return file.name.rpartition(", record ")[0] or file.name
    return os.path.splitext(file.name)[1].lower() or "no ending"  # noqa: PTH122 (faster)
