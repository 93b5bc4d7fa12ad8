"""The environment that renders the templates: filters for numbers, code and file names."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pinxit.reports.formatting import format_number, shorten_file_name


@cache
def create_environment() -> Environment:
    """Return the environment that renders the templates of this package."""
    environment = Environment(
        loader=PackageLoader("pinxit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": mark_code,
        "number": format_number,
        "file_name": mark_file_name,
    }
    return environment


def mark_code(text: str) -> Markup:
    """Escape a text and turn `backticks` into code elements."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def mark_file_name(name: str) -> Markup:
    """Escape a file name, shortened in the middle, that breaks at separators only."""
    stem, extension = shorten_file_name(name)
    breakable = re.sub(r"([-_ ]+)", r"\1<wbr>", str(escape(stem)))
    end = f'<wbr><span class="nowrap">{escape(extension)}</span>' if extension else ""
    return Markup(f'<span title="{escape(name)}">{breakable}{end}</span>')
