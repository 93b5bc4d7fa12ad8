"""Sections to one HTML file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.sections import Section
from pinxit.reports.summary import lead, tiles

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pinxit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": as_code, "number": number}
    return environment


def as_code(text: str) -> Markup:
    """Words between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def render(material: Material, sections: Sequence[Section]) -> str:
    """The page: text of one HTML file that needs nothing else."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            name=material.run.name,
            version=version("pinxit"),
            made=datetime.now().strftime("%-d %B %Y, %H:%M"),
            lead=lead(material),
            tiles=tiles(material),
            missing=material.missing,
            sections=sections,
        )
    )
