"""The Jinja environment of the templates, and the files that are rendered by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pinxit.reports.charts import HEIGHT, WIDTH, Curve
from pinxit.reports.formatting import format_number, shorten_file_name

LEGEND_LINE = 18  # height of a line of the legend, in the units of a chart


def render_chart_file(chart: Markup, legend: Sequence[Curve] = ()) -> str:
    """Return a chart as an SVG file of its own, which follows the viewer's light or dark theme.

    `legend` names these curves below it.
    """
    template = create_environment().get_template("chart.svg.j2")
    height = int(HEIGHT) + LEGEND_LINE * len(legend)
    return template.render(
        chart=chart, legend=legend, width=int(WIDTH), chart_height=int(HEIGHT), height=height
    )


@cache
def create_environment() -> Environment:
    """Return the environment, with the filters that the templates use."""
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
