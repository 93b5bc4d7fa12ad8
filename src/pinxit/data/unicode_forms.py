"""One Unicode form for all texts: form C, without surrogates.

An accented letter can be one character or two: the forms look the same, but are different strings.
A name that is not UTF-8 has surrogates in Python (PEP 383), which no file in UTF-8 can hold.
"""

from __future__ import annotations

import contextlib
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path


def normalize_text(text: str) -> str:
    """Return a text in form C, with single spaces between its words."""
    return " ".join(unicodedata.normalize("NFC", replace_surrogates(text)).split())


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates by U+FFFD, and join pairs of them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def normalize_label(name: str) -> str:
    r"""Return a label's name in form C, with an escape for each byte that is not UTF-8.

    >>> normalize_label("caf\udce9")
    'caf\\udce9'
    """
    return unicodedata.normalize("NFC", escape_surrogates(name))


def escape_surrogates(text: str) -> str:
    r"""Replace each lone surrogate by an escape such as `\udce9`; names remain distinct."""
    return text.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """Yield a path that is valid UTF-8: a temporary link to the path if it is not.

    For libraries that take only such paths (safetensors, pyarrow).
    """
    if escape_surrogates(str(path)) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(path.resolve())
        yield link
