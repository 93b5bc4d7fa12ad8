"""The help page of a command: usage, examples, then its options in sections."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pinxit.cli.options import COMMON, SECTIONS, Option, read_docstring, read_options

INDENT = 26  # columns before the text of an option
MAX_WIDTH = 100  # columns

HELP = Option("help", ("-h", "--help"), "flag", "show this page", "general", False, count=0)


def page_width() -> int:
    """Return the width of help pages in columns: that of the terminal, from 50 to 100."""
    return max(50, min(MAX_WIDTH, shutil.get_terminal_size().columns))


def help_page(command: str, function: Callable[..., Any]) -> str:
    """Return the page that `pinxit COMMAND --help` prints."""
    options, docstring = read_options(function), read_docstring(function)
    positional = [option for option in options if not option.flags]
    blocks = [_usage(command, options), _fill(docstring.summary)]
    blocks += [_fill(text) for text in docstring.description.split("\n\n") if text]
    if docstring.examples:
        blocks.append("\n".join(["examples:", *(f"  {line}" for line in docstring.examples)]))
    if positional:
        entries = [format_entry(option.metavar, option.help) for option in positional]
        blocks.append("\n".join(["arguments:", *entries]))
    blocks += _sections([option for option in (*options, HELP) if option.flags])
    return "\n\n".join(blocks)


def _usage(command: str, options: Sequence[Option]) -> str:
    required = [f"{o.flag} {o.metavar}" for o in options if o.flags and o.is_required]
    positional = [option.metavar for option in options if not option.flags]
    return " ".join(["usage: pinxit", command, *required, *positional, "[options]"])


def _sections(options: list[Option]) -> Iterator[str]:
    for section in SECTIONS:
        group = [option for option in options if option.section == section]
        if not group:
            continue
        entries = [format_entry(_spelling(o), describe(o)) for o in _order_options(group)]
        yield "\n".join([f"{section}:", *entries])


def _order_options(options: list[Option]) -> list[Option]:
    """Sort options: required and common ones, the others as declared, `--out`."""
    first = [option for option in options if option.is_required]
    first += [option for name in COMMON[:-1] for option in options if option.name == name]
    last = [option for option in options if option.name == COMMON[-1]]
    return [*first, *(o for o in options if o not in (*first, *last)), *last]


def _spelling(option: Option) -> str:
    """`-o, --out PATH`; `--report, --no-report` for a flag that is on by default."""
    off = [option.negative] if option.negative and option.default is True else []
    return f"{', '.join([*option.flags, *off])} {option.metavar}".strip()


def describe(option: Option) -> str:
    """Return the help text of an option with its default: `dropout probability (default: 0.1)`."""
    text, default = option.help, _default_text(option.default)
    if option.default is None:
        # a comment says what None means: "attention heads; None: chosen from width"
        text, default = _split_default(text)
    if not default or "(default: " in text:
        return text
    return f"{text} (default: {default})".strip()


def _split_default(text: str) -> tuple[str, str]:
    """Split `heads; None: chosen` into the text and the meaning of None."""
    clause = re.search(r"(?:^|[;,.]? )None: (.*?)(?:([.;] )(.*))?$", text)
    if clause is None:
        return text, ""
    default, separator, rest = clause.groups()
    text = (separator or "").join(part for part in (text[: clause.start()], rest) if part)
    return text, "chosen from the data" if default == "chosen" else default.rstrip(".")


def _default_text(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else ""
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return str(default) if isinstance(default, int | str) else ""


def format_entry(left: str, text: str, indent: int = INDENT) -> str:
    """Return an option with its text to the right, or below it if the option is long."""
    width = page_width() - indent
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    left = f"  {left}"
    if len(left) > indent - 2:
        head = textwrap.wrap(left, page_width(), subsequent_indent="      ")
        return "\n".join([*head, *(" " * indent + line for line in lines)])
    first = f"{left:<{indent}}{lines[0]}".rstrip()
    return "\n".join([first, *(" " * indent + line for line in lines[1:])])


def _fill(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), page_width())
