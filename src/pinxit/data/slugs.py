"""Texts and DATA as parts of file names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

# words of splits and priors, which such names end in
SUFFIX_WORDS = frozenset({"train", "validation", "held", "out", "all", "mixture", "realnvp"})


def data_slug(data: Sequence[str], split: str | None = None, default: str = "test") -> str:
    """Return DATA and the split as part of a file name."""
    if not data:
        return split or default
    name = slug(Path(data[0]).stem if len(data) == 1 else f"{len(data)}-files")
    return f"{name}-{split}" if split else name


def other_data_slug(source: str) -> str:
    """Return DATA as part of the name of a file about a run on data that are not its own.

    A split or a prior may follow: a name that has such a word has a hash.
    """
    name = data_slug((source,))
    return name if SUFFIX_WORDS.isdisjoint(name.split("-")) else f"{name}-{short_hash([source])}"


def short_hash(texts: Sequence[str]) -> str:
    """Return a few characters that differ between texts."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:8]


def slug(text: str) -> str:
    """Return any text as part of a file name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "images"
