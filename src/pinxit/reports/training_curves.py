"""The section with the training curves from metrics.csv."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pinxit.reports.charts import Curve, draw_line_chart
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_key, format_number
from pinxit.reports.sections import Section
from pinxit.watch.metric_columns import MetricsRows, select_loss_columns

INITIAL_FRACTION = 0.04  # of training; its values may lie outside the chart

X_TITLES = {"images_seen": "images seen", "step": "step"}


@dataclass(frozen=True)
class CurveChart:
    """A chart with its title; `truncated` if it leaves out the first values."""

    title: str
    svg: Markup
    curves: list[Curve]
    truncated: bool = False


def training_curves(context: ReportContext) -> Section | None:
    """Show the loss, its parts and the learning rate over the images seen."""
    rows = context.run.metrics()
    if len(rows) < 2:
        return None
    x = "images_seen" if "images_seen" in rows[-1] else "step"
    charts = [draw_column(rows, name, x) for name in select_loss_columns(rows)]
    charts.append(_draw_learning_rate(rows, x))
    charts = [chart for chart in charts if chart is not None]
    if not charts:
        return None
    values = {
        "charts": charts,
        "skipped": int(rows[-1].get("skipped", 0.0)),
        "has_validation": any("val_loss" in row for row in rows),
        "unit": (context.run.config.get("trained") or {}).get("unit"),
    }
    return Section("training_curves", "Training curves", values)


def draw_loss_chart(rows: MetricsRows) -> CurveChart | None:
    """Return the chart of the training and the validation loss; None without two rows."""
    if len(rows) < 2:
        return None
    return draw_column(rows, "loss", "images_seen" if "images_seen" in rows[-1] else "step")


def draw_column(rows: MetricsRows, name: str, x: str) -> CurveChart | None:
    """Return the chart of a column's training and validation values; None if there are none."""
    curves = [
        _extract_curve(rows, name, x, "training", 0),
        _extract_curve(rows, f"val_{name}", x, "validation", 1),
    ]
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return None
    low, high = _choose_value_range(curves)
    inside = [_clip_curve(curve, low, high) for curve in curves]
    final = "".join(f"; {curve.name} ends at {format_number(curve.y[-1], 4)}" for curve in curves)
    title = format_key(name)
    svg = draw_line_chart(inside, label=f"{title} during training{final}", x_title=X_TITLES[x])
    truncated = any(len(a.x) < len(b.x) for a, b in zip(inside, curves, strict=True))
    return CurveChart(title, svg, inside, truncated)


def _draw_learning_rate(rows: MetricsRows, x: str) -> CurveChart | None:
    curve = _extract_curve(rows, "learning_rate", x, "learning rate", 3)
    if len(curve.x) < 2:
        return None
    svg = draw_line_chart([curve], label="learning rate during training", x_title=X_TITLES[x])
    return CurveChart("learning rate", svg, [])


def _extract_curve(rows: MetricsRows, column: str, x: str, name: str, color: int) -> Curve:
    points = [(row[x], row[column]) for row in rows if column in row and x in row]
    return Curve(name, [a for a, _ in points], [b for _, b in points], color)


def _choose_value_range(curves: list[Curve]) -> tuple[float, float]:
    """Return the range of the values after `INITIAL_FRACTION` of training, with a margin.

    The first values are so large that they would flatten the rest of the curve.
    """
    start = INITIAL_FRACTION * max(curve.x[-1] for curve in curves)
    points = [point for curve in curves for point in zip(curve.x, curve.y, strict=True)]
    values = [y for x, y in points if x >= start and y == y] or [y for _, y in points]
    margin = (max(values) - min(values)) * 0.05 or 1.0
    return min(values) - margin, max(values) + margin


def _clip_curve(curve: Curve, low: float, high: float) -> Curve:
    """Return the points of a curve between two values."""
    points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if low <= y <= high]
    return Curve(curve.name, [x for x, _ in points], [y for _, y in points], curve.color)
