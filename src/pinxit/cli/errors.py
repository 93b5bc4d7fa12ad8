"""Errors of the Python interface in the words of the command line.

A dataclass checks its fields and names them: `latent_dim must be at least 1, not 0`. On the command
line the error names the option, and the value as it was typed: `--latent-dim must be ...`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pinxit.cli.options import Option
from pinxit.errors import UnusedOptionError, UsageError

# `width must`, `limit is`: a field name that is also a word of English begins the error
VERBS = "must|is|needs|takes"


def translate_error(
    error: UsageError, options: Sequence[Option], values: Mapping[Option, list[str]]
) -> str:
    """Return the text of an error with options in place of fields.

    `options` are those of the command, `values` the values that were typed.
    """
    flags = {option.name: option.flag for option in options if option.flags}
    if isinstance(error, UnusedOptionError):
        unused = [flags.get(name, name) for name in error.unused]
        used = [flags[name] for name in error.used if name in flags]
        return f"this model does not use {_join(unused)}; it uses {_join(used)}."
    text = str(error)
    for option in options:
        if option.flags:
            text = _name_option(text, option, values.get(option, []))
    return text


def _name_option(text: str, option: Option, typed: Sequence[str]) -> str:
    """Replace the name of a field by its option.

    A name without an underscore may be a word of the sentence. It is replaced if it begins the
    error, and before the value that was typed: `--heads 3 does not divide --width 32`.
    """
    name, value = option.name, re.escape(" ".join(typed))
    if "_" in name:
        return _restore_value(
            re.sub(rf"(?<![\w/.'`\"-]){name}(?![\w/'`\"-]|\.\w)", option.flag, text), option, typed
        )
    text = re.sub(rf"^{name}(?= (?:{VERBS})\b)", option.flag, text)
    if typed:
        text = re.sub(rf"(?<![\w/.'`\"-]){name}(?= {value}(?![\w/]))", option.flag, text)
    return _restore_value(text, option, typed)


def _restore_value(text: str, option: Option, typed: Sequence[str]) -> str:
    """Replace `not 0.0` by `not 0` in an error that begins with an option, if 0 was typed."""
    if not typed or not text.startswith(f"{option.flag} "):
        return text
    return re.sub(r", not (?:\([^()]*\)|[^\s,;()']+)\.$", f", not {' '.join(typed)}.", text)


def _join(flags: Sequence[str]) -> str:
    """`--seed`, `--seed and --top-k`, `--seed, --top-k and --top-p`."""
    *most, last = flags
    return f"{', '.join(most)} and {last}" if most else last
