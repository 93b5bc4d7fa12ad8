"""Errors of pinxit. Their text is one or two lines: what is wrong, and what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping
from typing import Self


class PinxitError(Exception):
    """An operation failed. The command line exits with 1."""

    exit_code = 1

    def with_text(self, text: str) -> Self:
        """Return an error of the same class and attributes with another text."""
        error = type(self).__new__(type(self), text)
        error.__dict__.update(self.__dict__)
        return error


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


# errno -> what to do about it
OS_HINTS = {
    errno.ENOSPC: "Free some space, or write to another disk (--out; PINXIT_CACHE for the cache).",
    errno.EDQUOT: "The quota is used up: free some space, or write elsewhere (--out).",
    errno.EFBIG: "Files here may not be so large (ulimit -f): raise the limit, or write elsewhere.",
    errno.EROFS: "Write to a folder that can be written (--out; PINXIT_CACHE for the cache).",
    errno.EACCES: "Change its permissions, or name another file or folder.",
    errno.EPERM: "Change its permissions, or name another file or folder.",
    errno.EMFILE: "Too many files are open in this process: raise the limit (ulimit -n).",
    errno.ENFILE: "Too many files are open on this machine: close some programs.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOENT: "Check the path; it may have been removed meanwhile.",
    errno.EIO: "The disk or the network folder fails: check it, then try again.",
    errno.ESTALE: "The network folder was mounted anew: try again.",
    errno.ENOMEM: "There is not enough memory: close some programs, or use smaller batches.",
}


def describe_os_error(error: OSError) -> str:
    """Return two lines: which file or folder cannot be read or written and why, and what to do."""
    name = error.filename if error.filename2 is None else error.filename2
    name = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    reason = error.strerror or next(iter(str(error).splitlines()), "") or type(error).__name__
    text = reason if name is None or isinstance(name, int) else f"{name}: {reason}"
    hint = OS_HINTS.get(error.errno or 0, "Run the command again with --debug to see where.")
    return f"{text.rstrip('.')}.\n{hint}"


MIN_SIMILARITY = 0.65  # from 0 to 1 (`difflib`): words above it count as misspellings
HIGH_SIMILARITY = 0.8  # misspelt synonyms, of which there are many, are less certain
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
    this, a very similar word or synonym, the most similar word.
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
    if similar := _most_similar(normalized, by_normalized, HIGH_SIMILARITY):
        return by_normalized[similar]
    if synonym := _find_misspelt_synonym(normalized, by_normalized, synonyms or {}):
        return synonym
    similar = _most_similar(normalized, by_normalized, MIN_SIMILARITY)
    return by_normalized[similar] if similar else None


def _find_misspelt_synonym(
    word: str, by_normalized: Mapping[str, str], synonyms: Mapping[str, str]
) -> str | None:
    """`generat` is nearly `generate`, a synonym of `sample`."""
    usable = {_normalize(key): _normalize(name) for key, name in synonyms.items()}
    usable = {key: name for key, name in usable.items() if name in by_normalized}
    meant = {name for key, name in usable.items() if key.startswith(word)}
    if len(meant) == 1 and len(word) >= MIN_PREFIX:
        return by_normalized[meant.pop()]
    similar = _most_similar(word, usable, HIGH_SIMILARITY)
    return by_normalized[usable[similar]] if similar else None


def _most_similar(word: str, words: Iterable[str], min_similarity: float) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(words), 1, min_similarity)), None)


def _normalize(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def format_value(value: object, max_chars: int = 40) -> str:
    """Return what Python prints of a value on one line, cut to a length: arrays take many lines."""
    text = " ".join(repr(value).split())
    return text if len(text) <= max_chars else f"{text[: max_chars - 3]}..."


def check_keys(keys: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raises UsageError for the first key that is not known, with the closest known one."""
    known = list(known)
    for key in keys:
        if key not in known:
            raise UsageError(f"{owner} has no {key!r}.{_suggest_keys(key, known)}")


def _suggest_keys(key: str, known: Iterable[str]) -> str:
    """Return the near key, or all that begin like this one: `latent_dim` and `latents`."""
    longer = [name for name in known if len(key) >= MIN_PREFIX and name.startswith(key)]
    if len(longer) < 2:
        return did_you_mean(key, known)
    return f" Did you mean {' or '.join(map(repr, longer))}?"
