"""Charts as inline SVG.

Not drawn with matplotlib: it is 65 MB, its SVG is ten times as large, and its colors cannot follow
the reader's light or dark theme. Colors are the classes
`s0` to `s9` of the page's CSS. The drawing is 400 units wide, so that its text stays readable on a
phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape

from pinxit.reports.formatting import format_number

WIDTH, HEIGHT = 400.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 10.0, 12.0, 38.0  # margins around the axes
FLOOR = HEIGHT - BOTTOM  # y of the horizontal axis
SCATTER_SIDE = 400.0
MIN_DOT_VALUE = 1e-6  # smaller values are drawn here: the axis is logarithmic
MIN_SCATTER_HEIGHT = 160.0
SCATTER_MARGIN = 12.0  # around the percentiles; points outside them are drawn within it
SCATTER_PERCENTILES = (1, 99)
EDGE = 3.0  # least distance of a point from the border: half its width

Points = Float[np.ndarray, "n 2"]


@dataclass(frozen=True)
class Curve:
    """A curve of a line chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0  # index of a color of the page
    dashed: bool = False
    dots: bool = False  # mark each point
    values: bool = False  # write each value beside its point
    errors: Sequence[float] = ()  # half the height of the error bar of each point, or none


@dataclass(frozen=True)
class PointGroup:
    """Points of one color in a scatter plot; color None is grey, without a name."""

    name: str
    points: Points
    color: int | None = None


@dataclass(frozen=True)
class Scale:
    """Maps values from [low, high] to drawing units from start to end, linearly or by their log."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self, target: int = 5) -> list[float]:
        """About `target` round numbers within the scale."""
        if not self.log:
            return linear_ticks(self.low, self.high, target)
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        step = max(1, math.ceil((last - first) / target))
        decades = [10.0**exponent for exponent in range(first, last + 1, step)]
        return decades if len(decades) > 1 else linear_ticks(self.low, self.high, target - 1)


def linear_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from `low` to `high`."""
    span = (high - low) or abs(high) or 1.0
    min_step = span / target
    power = 10.0 ** math.floor(math.log10(min_step))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= min_step * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


# -- charts ----------------------------------------------------------------------------------------


def draw_line_chart(
    curves: Sequence[Curve],
    *,
    label: str,
    x_title: str,
    y_title: str = "",
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """Draw curves over common axes; points that are not finite (or positive, if log) are dropped.

    Returns an empty string if no points are left.
    """
    curves = [_drop_undrawable_points(curve, log_y) for curve in curves]
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return Markup("")
    x = _fit_scale([v for c in curves for v in c.x], LEFT, WIDTH - RIGHT)
    values = y_range or [v for c in curves for v in _heights(c, log_y)]
    y = _fit_scale(values, FLOOR, TOP, log_y, margin=0.0 if y_range else 0.04)
    paths = [
        f'<path class="line s{curve.color}{" dashed" if curve.dashed else ""}" '
        f'd="{_trace_curve(curve, x, y)}"/>'
        for curve in curves
    ]
    paths += [part for curve in curves for part in _mark_points(curve, x, y)]
    return _wrap_svg([_draw_axes(x, y, x_title, y_title), _clip_to_axes(paths)], label)


def draw_bar_chart(
    values: Sequence[float],
    colors: Sequence[int],
    *,
    label: str,
    x_title: str,
    y_title: str = "",
    mark_after: int | None = None,
    mark_text: str = "",
) -> Markup:
    """Draw a bar per value in the order given, and a dashed line after the first `mark_after`."""
    y = Scale(0.0, max(*values, 1e-9) * 1.05, FLOOR, TOP)
    x = Scale(0.0, float(len(values)), LEFT, WIDTH - RIGHT)
    bar_width = 0.8 * (WIDTH - LEFT - RIGHT) / len(values)
    paths: dict[int, list[str]] = {}
    for i, (value, color) in enumerate(zip(values, colors, strict=True)):
        left, top = x(i) + bar_width / 8, y(max(value, 0.0))
        path = f"M{left:.1f} {top:.1f}h{bar_width:.1f}v{FLOOR - top:.1f}h{-bar_width:.1f}z"
        paths.setdefault(color, []).append(path)
    parts = [_draw_axes(None, y, x_title, y_title), *_draw_paths(paths, "bar")]
    if mark_after is not None:
        parts.append(_draw_vertical_mark(x(mark_after), mark_text))
    return _wrap_svg(parts, label)


def draw_dot_plot(
    values: Sequence[float],
    colors: Sequence[int],
    *,
    label: str,
    x_title: str,
    y_title: str,
    threshold: float,
    threshold_text: str,
) -> Markup:
    """Draw a dot per value on a log scale, and a dashed line at `threshold`."""
    values = [max(float(value), MIN_DOT_VALUE) for value in values]
    y = Scale(min([*values, threshold]) * 0.7, max([*values, threshold]) * 1.5, FLOOR, TOP, True)
    x = Scale(0.0, float(len(values)), LEFT, WIDTH - RIGHT)
    paths: dict[int, list[str]] = {}
    for i, (value, color) in enumerate(zip(values, colors, strict=True)):
        paths.setdefault(color, []).append(f"M{x(i + 0.5):.1f} {y(value):.1f}h0")
    parts = [
        _draw_axes(None, y, x_title, y_title),
        _draw_horizontal_mark(y(threshold), threshold_text),
    ]
    return _wrap_svg([*parts, *_draw_paths(paths, "dot")], label)


def draw_scatter_plot(groups: Sequence[PointGroup], *, label: str) -> Markup:
    """Draw points without axes at equal scales, fitted to the 1st to 99th percentile.

    Points outside are drawn at the edge. The name of a group appears when the pointer is over its
    points; the page lists the names in a legend, where they hide no points.
    """
    points = np.concatenate([group.points for group in groups])
    low, high = np.percentile(points, SCATTER_PERCENTILES, axis=0)
    span = np.maximum(high - low, 1e-9)
    scale = (SCATTER_SIDE - 2 * SCATTER_MARGIN) / float(span.max())
    height = max(float(span[1]) * scale + 2 * SCATTER_MARGIN, MIN_SCATTER_HEIGHT)
    size, center = np.array([SCATTER_SIDE, height]), (low + high) / 2
    paths: list[str] = []
    for group in groups:
        offsets = (group.points - center) * scale * (1, -1)  # y grows downward
        xy = np.clip(size / 2 + offsets, EDGE, size - EDGE)
        color = "other" if group.color is None else f"s{group.color}"
        d = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in xy)
        title = "" if group.color is None else f"<title>{escape(group.name)}</title>"
        paths.append(f'<path class="point {color}" d="{d}">{title}</path>')
    return _wrap_svg(paths, label, SCATTER_SIDE, height)


# -- parts of a chart ------------------------------------------------------------------------------


def _drop_undrawable_points(curve: Curve, log_y: bool) -> Curve:
    """Drop points that are not finite, or not positive on a log axis."""
    errors = curve.errors or [0.0] * len(curve.x)
    points = [
        (float(x), float(y), float(error) if math.isfinite(error) else 0.0)
        for x, y, error in zip(curve.x, curve.y, errors, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (not log_y or y > 0)
    ]
    x, y, errors = ([point[i] for point in points] for i in range(3))
    return replace(curve, x=x, y=y, errors=errors if curve.errors else ())


def _heights(curve: Curve, log_y: bool) -> list[float]:
    """Return the values of a curve and the ends of its error bars."""
    ends = [
        end
        for y, error in zip(curve.y, curve.errors, strict=False)
        for end in (y - error, y + error)
        if not log_y or end > 0
    ]
    return [*curve.y, *ends]


def _mark_points(curve: Curve, x: Scale, y: Scale) -> list[str]:
    """Draw the error bars, dots and values of a curve."""
    parts = []
    points = [(x(a), y(b)) for a, b in zip(curve.x, curve.y, strict=True)]
    bars = [
        f"M{left:.1f} {y(value - error):.1f}V{y(value + error):.1f}"
        for (left, _), value, error in zip(points, curve.y, curve.errors, strict=False)
        if error
    ]
    if bars:
        parts.append(f'<path class="error s{curve.color}" d="{"".join(bars)}"/>')
    if curve.dots:
        d = "".join(f"M{left:.1f} {top:.1f}h0" for left, top in points)
        parts.append(f'<path class="dot s{curve.color}" d="{d}"/>')
    if curve.values:
        for (left, top), value in zip(points, curve.y, strict=True):
            at_end = left > WIDTH - RIGHT - 30
            text_x, anchor = (left - 6, "end") if at_end else (left + 6, "start")
            parts.append(_draw_text(text_x, top - 6, f"{value:.3g}", anchor, "note"))
    return parts


def _fit_scale(
    values: Sequence[float], start: float, end: float, log: bool = False, margin: float = 0.0
) -> Scale:
    """Return a scale for the values; a linear one has `margin`, a fraction of their range."""
    low, high = float(min(values)), float(max(values))
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    pad = 0.0 if log else (high - low) * margin
    return Scale(low - pad, high + pad, start, end, log)


def _trace_curve(curve: Curve, x: Scale, y: Scale) -> str:
    if len(curve.x) == 1:  # a dot: the stroke has round ends
        return f"M{x(curve.x[0]):.1f} {y(curve.y[0]):.1f}h.1"
    points = [f"{x(a):.1f} {y(b):.1f}" for a, b in zip(curve.x, curve.y, strict=True)]
    return "M" + "L".join(points)


def _draw_paths(paths: dict[int, list[str]], style: str) -> list[str]:
    return [f'<path class="{style} s{color}" d="{"".join(d)}"/>' for color, d in paths.items()]


def _clip_to_axes(paths: Sequence[str]) -> str:
    """Clip paths to the area inside the axes, plus half the width of a stroke."""
    width, height = WIDTH - LEFT - RIGHT + 4, HEIGHT - TOP - BOTTOM + 4
    view_box = f"{LEFT - 2} {TOP - 2} {width} {height}"
    box = f'x="{LEFT - 2}" y="{TOP - 2}" width="{width}" height="{height}"'
    return f'<svg {box} viewBox="{view_box}">{"".join(paths)}</svg>'


def _draw_vertical_mark(x: float, text: str) -> str:
    """Draw a dashed vertical line with a text beside it, on the side with more room."""
    anchor, text_x = ("end", x - 5) if x > WIDTH / 2 else ("start", x + 5)
    line = f'<path class="mark" d="M{x:.1f} {TOP}V{FLOOR}"/>'
    return line + _draw_text(text_x, TOP + 10, text, anchor, "note")


def _draw_horizontal_mark(y: float, text: str) -> str:
    """Draw a dashed horizontal line with a text above it."""
    line = f'<path class="mark" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
    return line + _draw_text(LEFT + 5, y - 5, text, "start", "note")


def _draw_axes(x: Scale | None, y: Scale, x_title: str, y_title: str) -> str:
    """Grid lines, axis, tick labels and titles; without `x` the horizontal axis has no ticks."""
    parts = _draw_y_ticks(y)
    parts.append(f'<path class="axis" d="M{LEFT} {FLOOR}H{WIDTH - RIGHT}"/>')
    if x is not None:
        parts += _draw_x_ticks(x)
    parts.append(_draw_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_title, "middle", "title"))
    if y_title:
        middle = (TOP + FLOOR) / 2
        parts.append(
            f'<text class="title" text-anchor="middle" '
            f'transform="translate(11 {middle:.0f}) rotate(-90)">{escape(y_title)}</text>'
        )
    return "".join(parts)


def _draw_y_ticks(scale: Scale) -> list[str]:
    parts = []
    for tick, label in zip(scale.ticks(), _format_ticks(scale), strict=True):
        y = scale(tick)
        parts.append(f'<path class="gridline" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_draw_text(LEFT - 6, y + 4, label, "end"))
    return parts


def _draw_x_ticks(scale: Scale) -> list[str]:
    parts = []
    for tick, label in zip(scale.ticks(), _format_ticks(scale), strict=True):
        x = scale(tick)
        anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"  # the last one stays inside
        parts.append(_draw_text(x, FLOOR + 16, label, anchor))
    return parts


def _format_ticks(scale: Scale) -> list[str]:
    ticks = scale.ticks()
    if scale.log and all(_is_power_of_ten(tick) for tick in ticks):
        use_exponents = max(ticks) >= 1e5 or min(ticks) < 1e-3
        return [
            _format_power_of_ten(tick) if use_exponents else format_number(tick, 1)
            for tick in ticks
        ]
    largest = max(map(abs, ticks), default=0.0)
    if largest >= 10_000:
        return [f"{format_number(tick / 1000, 4)}k" if tick else "0" for tick in ticks]
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else largest or 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick + 0.0:,.{decimals}f}".replace("-", "−") for tick in ticks]


def _is_power_of_ten(value: float) -> bool:
    return value > 0 and math.log10(value) == round(math.log10(value))


def _format_power_of_ten(tick: float) -> str:
    exponent = str(round(math.log10(tick)))
    return "10" + exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _draw_text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    class_attribute = f' class="{style}"' if style else ""
    position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {position}{class_attribute}>{escape(text)}</text>"


def _wrap_svg(
    parts: Sequence[str], label: str, width: float = WIDTH, height: float = HEIGHT
) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
