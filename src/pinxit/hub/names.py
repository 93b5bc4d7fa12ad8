"""Names of models on the Hugging Face Hub."""

from __future__ import annotations

import re
from typing import NamedTuple

from pinxit.errors import UsageError

PREFIX = "hf:"
NAME = r"[\w.-]+/[\w.-]+"
MESSAGE = "Publish a run of pinxit"  # of the commit
MAX_LETTERS = 96  # of owner and name together


class HubName(NamedTuple):
    """A repository of the hub, and a branch, tag or commit of it; None: its main branch."""

    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.repo_id + (f"@{self.revision}" if self.revision else "")


def parse_hub_name(text: str, what: str = "a model of the hub is hf:owner/name") -> HubName:
    """Parse `hf:owner/name`, `hf:owner/name@revision`, with or without `hf:`.

    Raises UsageError for another form, and for a name that the hub does not allow.
    """
    match = re.fullmatch(rf"(?:{PREFIX})?({NAME})(?:@([\w./-]+))?", text, re.ASCII)
    if match is None:
        raise UsageError(f"{what} or {what.split()[-1]}@REVISION, not '{text}'.")
    name = HubName(match[1], match[2])
    check_repo_id(name.repo_id)
    return name


def check_repo_id(repo_id: str) -> None:
    """Raise UsageError for a name that the hub does not allow."""
    parts = repo_id.split("/")
    wrong = any(part[0] in "-." or part[-1] in "-." for part in parts)
    if wrong or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise UsageError(
            f"'{repo_id}' is no name of the hub: it may not hold -- or .., end in .git, or have a "
            "part that begins or ends with - or ."
        )
    if len(repo_id) > MAX_LETTERS:
        raise UsageError(f"a name of the hub has at most {MAX_LETTERS} letters: '{repo_id}'.")
