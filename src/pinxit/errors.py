"""Errors of pinxit. Their text is one or two lines: what is wrong, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class PinxitError(Exception):
    """An operation failed. The command line exits with 1."""

    exit_code = 1


class UsageError(PinxitError):
    """An argument or an option is invalid. The command line exits with 2."""

    exit_code = 2


class UnusedOptionError(UsageError):
    """Options are set that a model does not use."""

    def __init__(self, unused: Iterable[str], used: Iterable[str]) -> None:
        self.unused, self.used = tuple(unused), tuple(used)
        super().__init__(
            f"this model does not use {', '.join(self.unused)}; it uses {', '.join(self.used)}."
        )


MIN_SIMILARITY = 0.65  # from 0 to 1 (`difflib`): words above it count as misspellings
MIN_PREFIX = 3  # letters of an abbreviated word


def did_you_mean(word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Return ` Did you mean 'mnist'?`, or "" if no known word is close."""
    closest = find_closest(word, known, synonyms)
    return f" Did you mean '{closest}'?" if closest else ""


def find_closest(
    word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None
) -> str | None:
    """Return the known word that `word` most likely stands for, or None.

    In this order: the same word up to case and hyphens, a synonym, the only word that begins like
    this, the most similar word.
    """
    by_normalized = {_normalize(name): name for name in known}
    normalized = _normalize(word)
    if normalized in by_normalized:
        return by_normalized[normalized]
    synonym = (synonyms or {}).get(word.lower().replace("_", "-"))
    if synonym is not None and _normalize(synonym) in by_normalized:
        return by_normalized[_normalize(synonym)]
    completions = [name for key, name in by_normalized.items() if key.startswith(normalized)]
    if len(completions) == 1 and len(normalized) >= MIN_PREFIX:
        return completions[0]
    similar = difflib.get_close_matches(normalized, by_normalized, n=1, cutoff=MIN_SIMILARITY)
    return by_normalized[similar[0]] if similar else None


def _normalize(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def check_keys(keys: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raises UsageError for the first key that is not known, with the closest known one."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise UsageError(f"{owner} has no '{key}'.{did_you_mean(key, known)}")
