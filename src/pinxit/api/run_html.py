"""How a run shows itself in a notebook: verdict, samples, training curve and report.

The curve is an image, since a notebook that is opened again shows no inline SVG.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from pinxit.console import format_duration, pluralize
from pinxit.errors import PinxitError
from pinxit.notebook import image_tag, link_tag
from pinxit.reports.training_curves import draw_loss_chart
from pinxit.runs import Run
from pinxit.training.previews import name_preview
from pinxit.training.progress import PREVIEWS
from pinxit.training.verdict import assess

# colors that are readable on a light and on a dark page
CHART_STYLE = """
text { font: 12px sans-serif; fill: #808080; } path { fill: none; }
.gridline { stroke: #80808040; } .axis { stroke: #808080; }
.line { stroke-width: 2; } .s0 { stroke: #5b82d8; } .s1 { stroke: #d9663f; }
"""


def run_html(run: Run, methods: Sequence[str]) -> str:
    """Return the HTML of a run; of one that cannot be read, the reason."""
    try:
        parts = [_heading(run), _verdict(run), _images(run), _report(run)]
    except (PinxitError, OSError, ValueError, KeyError, TypeError) as error:
        return f"<div>{html.escape(f'{run.path}: {error}')}</div>"
    parts.append(f'<div style="opacity: 0.7">methods: {", ".join(methods)}</div>')
    return f'<div style="max-width: 60em">{"".join(parts)}</div>'


def _heading(run: Run) -> str:
    info, trained = run.info, run.config.get("trained") or {}
    facts = [
        run.family,
        f"{info.width} x {info.height}, {'grey' if info.channels == 1 else 'RGB'}",
        pluralize(info.num_images, "training image"),
    ]
    steps, seconds = trained.get("steps"), trained.get("seconds")
    if steps is not None and seconds is not None:
        facts.append(f"{steps:,} steps in {format_duration(seconds)}")
    if not run.config.get("finished"):
        facts.append("unfinished")
    return f"<div><b>{html.escape(str(run.path))}</b>: {html.escape(', '.join(facts))}</div>"


def _verdict(run: Run) -> str:
    verdict = assess(run, run.evaluation())
    text = f": {verdict.sentence}"
    if verdict.remedy:
        text += f" First: {verdict.remedy.replace('`', '')}."
    return f"<div><b>{html.escape(verdict.state)}</b>{html.escape(text)}</div>"


def _images(run: Run) -> str:
    """Return the newest preview, beside the curve of the loss."""
    cells, folder = [], run.path / "samples"
    for kind in PREVIEWS:
        files = sorted(folder.glob(f"{kind}-*.png"))
        if files:
            step = int(files[-1].stem.rpartition("-")[2])
            label = f"{name_preview(folder, kind)} at step {step:,}"
            tag = image_tag(files[-1].read_bytes(), label, "width: 22em")
            cells.append(f"<div>{html.escape(label)}<br>{tag}</div>")
            break
    if chart := _chart(run):
        cells.append(chart)
    style = "display: flex; flex-wrap: wrap; gap: 1.5em; align-items: flex-start; margin: 0.5em 0"
    return f'<div style="{style}">{"".join(cells)}</div>'


def _chart(run: Run) -> str:
    chart = draw_loss_chart(run.metrics())
    if chart is None or not chart.svg:
        return ""
    unit = (run.config.get("trained") or {}).get("unit") or ""
    names = {"training": "#5b82d8", "validation": "#d9663f"}
    legend = ", ".join(
        f'<span style="color: {names[curve.name]}">{curve.name}</span>' for curve in chart.curves
    )
    svg = str(chart.svg).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="250" ', 1
    )
    svg = svg.replace(">", f"><style>{CHART_STYLE}</style>", 1)
    data = base64.b64encode(svg.encode()).decode("ascii")
    image = f'<img alt="loss" style="width: 25em" src="data:image/svg+xml;base64,{data}">'
    return f"<div>loss, {html.escape(unit)}: {legend}<br>{image}</div>"


def _report(run: Run) -> str:
    file = run.path / "report.html"
    if file.is_file():
        return f"<div>{link_tag(file, 'report')}</div>"
    return "<div>no report yet: <code>run.report()</code></div>"
