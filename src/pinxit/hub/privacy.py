"""What a published run must not hold: paths of this machine, names of files and of its user."""

from __future__ import annotations

import getpass
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinxit.data.sources import list_source_names
from pinxit.hub.names import NAME
from pinxit.runs import Run

HUB_SOURCE = re.compile(rf"hf:({NAME})(?::[\w.-]+)?", re.ASCII)
UNNAMED = "images"
# a path from a root, a home, a drive or a relative folder; names of folders may have spaces
_LETTER = r"[^\s/\\'\"`<>|;,()]"
PATH = re.compile(
    r"(?<![\w:/\\<])(?:~[\w.-]*|[A-Za-z]:|[/\\]|\.{1,2})?[/\\]"
    rf"(?:{_LETTER}+(?: +{_LETTER}+)*[/\\])*{_LETTER}+"
)
MIN_SECRET = 5  # characters of a folder that is searched for; shorter ones occur by chance
MIN_SECRET_IN_TENSORS = 9


class Redactor:
    """Takes paths and names of this machine out of the texts of a run."""

    def __init__(self, run: Run) -> None:
        data = run.config.get("data") or {}
        sources = [data.get("source"), *(data.get("files") or [])]
        self.paths = sorted(
            {str(text) for text in sources if text and is_path(str(text))}
            | {str(path) for path in (run.path, run.path.absolute(), run.path.resolve())},
            key=len,
            reverse=True,
        )
        homes = {str(Path.home()), str(Path.home().resolve()), str(Path.cwd())}
        homes |= {str(Path(path).expanduser().absolute().parent) for path in self.paths}
        roots = {os.sep, tempfile.gettempdir(), "/home", "/root", "/Users", "/mnt", "/data"}
        folders = {*self.paths, *homes} - roots
        self.secrets = {text for text in folders if is_path(text) and len(text) >= MIN_SECRET}

    def text(self, text: str) -> str:
        """Return a text with the last part in place of each path."""
        if " " not in text and is_path(text):
            return last_part(text)
        for path in self.paths:
            if is_path(path):
                text = text.replace(path, last_part(path))
        return PATH.sub(lambda match: last_part(match[0]), text)

    def value(self, value: Any) -> Any:
        """Return a JSON value with `text` of all its texts, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def option(self, value: Any) -> Any:
        """Return the value of an option: of a path, also of a relative one, its last part."""
        if isinstance(value, str):
            return last_part(value) if is_path(value) else value
        if isinstance(value, Mapping):
            return {name: self.option(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.option(item) for item in value]
        return value

    def find_secret(self, content: bytes, is_tensors: bool = False) -> str | None:
        """Return a folder of this machine that stands in a file's content."""
        least = MIN_SECRET_IN_TENSORS if is_tensors else MIN_SECRET
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) < least:
                continue
            spellings = {secret, secret.replace("\\", "\\\\"), ascii(secret)[1:-1]}
            if any(os.fsencode(text) in content for text in spellings):
                return secret
        return None


def is_path(text: str) -> bool:
    """Return whether a text is a path, rather than a name or a dataset of the hub."""
    return ("/" in text or "\\" in text or text.startswith("~")) and not HUB_SOURCE.fullmatch(text)


def last_part(path: str) -> str:
    """Return the last part of a path; `images` if that is the name of the user or the machine."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return UNNAMED if not name or name == "~" or name.lower() in _own_names() else name


def _own_names() -> set[str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no entry in the list of users
        user = ""
    names = {user, Path.home().name, socket.gethostname()}
    return {name.lower() for name in names if name}


def public_source(run: Run) -> str:
    """Return the name of the data of a run's training that may be published."""
    return public_name(_source_of(run))


def public_name(source: str) -> str:
    """Return the name of a source that may be published: without folders.

    A known data set and one of the hub keep their names.
    """
    if source.split(":")[0] in list_source_names() or HUB_SOURCE.fullmatch(source):
        return source
    return last_part(source) if source else UNNAMED


def hub_dataset(run: Run) -> str | None:
    """Return `owner/name` of the dataset of the hub that a run was trained on."""
    return hub_name(_source_of(run))


def hub_name(source: str) -> str | None:
    """Return `owner/name` of a source that is a dataset of the hub."""
    match = HUB_SOURCE.fullmatch(source)
    return match[1] if match else None


def _source_of(run: Run) -> str:
    return str((run.config.get("data") or {}).get("source") or "")
