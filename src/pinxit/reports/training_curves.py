"""The training's curves from metrics.csv."""

from __future__ import annotations

from typing import Any

from pinxit.reports import charts
from pinxit.reports.charts import Line
from pinxit.reports.context import Material
from pinxit.reports.formatting import plain
from pinxit.reports.sections import Section

# what a row of metrics.csv tells besides the loss and its parts
BOOKKEEPING = {"step", "images", "seconds", "progress", "learning_rate", "grad_norm", "skipped"}
CUT = 0.04  # of the training, that the value axis need not hold

Rows = list[dict[str, float]]


def trained(material: Material) -> Section | None:
    """Loss, its parts and the learning rate over the images seen."""
    rows = material.run.metrics()
    if len(rows) < 2:
        return None
    x = "images" if "images" in rows[-1] else "step"
    drawn = [_learning(rows, name, x) for name in _parts(rows)]
    if any("learning_rate" in row for row in rows):
        drawn.append(_single(rows, "learning_rate", x, "learning rate"))
    charts_made = [chart for chart in drawn if chart is not None]
    skipped = sum(row.get("skipped", 0.0) for row in rows[-1:])
    values = {"charts": charts_made, "skipped": int(skipped)}
    return Section("trained", "How it learned", values) if charts_made else None


def _parts(rows: Rows) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    parts = [n for n in names if n not in BOOKKEEPING and not n.startswith(("val_", "ema_"))]
    parts = [n for n in parts if not n.endswith(("_per_second", "_seconds"))]
    # bits per dimension are the ELBO in another unit, and the ELBO most often the loss's mirror
    hidden = {"bits_per_dim"} | ({"elbo"} if _mirrored(rows) else set())
    return [name for name in parts if name not in hidden]


def _mirrored(rows: Rows) -> bool:
    both = [(row["loss"], row["elbo"]) for row in rows if "loss" in row and "elbo" in row]
    return all(abs(loss + elbo) <= 1e-4 * abs(loss) + 1e-4 for loss, elbo in both)


def _learning(rows: Rows, name: str, x: str) -> dict[str, Any] | None:
    curves = [
        _line(rows, name, x, "training", 0),
        _line(rows, f"val_{name}", x, "validation", 1),
    ]
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return None
    low, high = _range(curves)
    kept = [Line(c.name, *_within(c, low, high), style=c.style) for c in curves]
    label = f"{plain(name)} while training" + "".join(
        f"; {c.name} ends at {c.y[-1]:.4g}" for c in curves
    )
    chart = charts.lines(kept, label=label, x_title=f"{x} seen" if x == "images" else x)
    cut = any(len(k.x) < len(c.x) for k, c in zip(kept, curves, strict=True))
    return {"title": plain(name), "chart": chart, "curves": kept, "cut": cut}


def _single(rows: Rows, name: str, x: str, title: str) -> dict[str, Any] | None:
    curve = _line(rows, name, x, title, 3)
    if len(curve.x) < 2:
        return None
    label = f"{title} while training"
    chart = charts.lines([curve], label=label, x_title=f"{x} seen" if x == "images" else x)
    return {"title": title, "chart": chart, "curves": [], "cut": False}


def _line(rows: Rows, name: str, x: str, title: str, style: int) -> Line:
    places = [(row[x], row[name]) for row in rows if name in row and x in row]
    return Line(title, [a for a, _ in places], [b for _, b in places], style)


def _range(curves: list[Line]) -> tuple[float, float]:
    """The values after the first moments, whose fall would flatten all that comes after."""
    end = max(curve.x[-1] for curve in curves)
    late = [b for c in curves for a, b in zip(c.x, c.y, strict=True) if a >= CUT * end and b == b]
    every = late or [b for c in curves for b in c.y]
    room = (max(every) - min(every)) * 0.05 or 1.0
    return min(every) - room, max(every) + room


def _within(curve: Line, low: float, high: float) -> tuple[list[float], list[float]]:
    kept = [(a, b) for a, b in zip(curve.x, curve.y, strict=True) if low <= b <= high]
    return [a for a, _ in kept], [b for _, b in kept]
