"""What pinxit raises. The text of an error is one or two lines: what is wrong, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class PinxitError(Exception):
    """Something that could not be done; the command line exits with 1."""

    exit_code = 1


class UsageError(PinxitError):
    """Something that was asked for in the wrong way; the command line exits with 2."""

    exit_code = 2


NEAR = 0.65  # similarity from 0 to 1 above which a word is taken for a misspelt one


def did_you_mean(word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Return ` Did you mean 'mnist'?`, or nothing if no known word is near."""
    near = nearest(word, known, synonyms)
    return f" Did you mean '{near}'?" if near else ""


def nearest(
    word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None
) -> str | None:
    """Return the known word that `word` most likely stands for; None if none is near.

    In this order: the same word but for case and hyphens, a synonym, the only word that begins so,
    the most similar spelling.
    """
    plain = {_plain(name): name for name in known}
    word = word.lower()
    if _plain(word) in plain:
        return plain[_plain(word)]
    meant = (synonyms or {}).get(word.replace("_", "-"))
    if meant is not None and _plain(meant) in plain:
        return plain[_plain(meant)]
    longer = [name for key, name in plain.items() if key.startswith(_plain(word))]
    if len(longer) == 1 and len(_plain(word)) >= 3:
        return longer[0]
    near = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=NEAR)
    return plain[near[0]] if near else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def check_keys(keys: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raises UsageError for the first key that is not known, with the nearest known one."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise UsageError(f"{owner} has no '{key}'.{did_you_mean(key, known)}")
