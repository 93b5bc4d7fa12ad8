"""What pinxit raises. The text of an error is one or two lines: what is wrong, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PinxitError(Exception):
    """Something that could not be done; the command line exits with 1."""

    exit_code = 1


class UsageError(PinxitError):
    """Something that was asked for in the wrong way; the command line exits with 2."""

    exit_code = 2


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'mnist'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
