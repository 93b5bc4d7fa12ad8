"""Charts as inline SVG, drawn here by hand.

Not by matplotlib: its import alone takes a second, its SVG is ten times the size, and its colours
cannot follow the reader's light or dark setting. These use the page's CSS classes `s0` .. `s9`.
A chart's own unit is a pixel of a 400-pixel-wide drawing, so that its text can be read at the
width of a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from pinxit.reports.formatting import number

WIDTH, HEIGHT = 400.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 10.0, 12.0, 38.0


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: int = 0  # which of the page's colours
    dashed: bool = False


@dataclass(frozen=True)
class Group:
    """Points of one colour on a map, `[n, 2]`; `style` None is grey."""

    name: str
    points: np.ndarray
    style: int | None = None


@dataclass(frozen=True)
class Scale:
    """Values to places along an axis; a log scale takes positive values."""

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

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers within the scale."""
        if not self.log:
            return linear_ticks(self.low, self.high, about)
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        step = max(1, math.ceil((last - first) / about))
        decades = [10.0**power for power in range(first, last + 1, step)]
        return decades if len(decades) > 1 else linear_ticks(self.low, self.high, about - 1)


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from `low` to `high`."""
    span = (high - low) or abs(high) or 1.0
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def lines(
    curves: Sequence[Line],
    *,
    label: str,
    x_title: str,
    y_title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """Curves over a common axis; points that are not finite (or, on a log axis, positive) go."""
    curves = [kept for curve in curves if len((kept := _drawable(curve, log_x, log_y)).x)]
    if not curves:
        return Markup("")
    x = _scale([v for c in curves for v in c.x], LEFT, WIDTH - RIGHT, log_x, margin=0.0)
    seen = y_range or (min(min(c.y) for c in curves), max(max(c.y) for c in curves))
    y = _scale(seen, HEIGHT - BOTTOM, TOP, log_y, margin=0.0 if y_range else 0.04)
    drawn = [_frame(x, y, x_title, y_title)]
    paths = [
        f'<path class="line s{curve.style}{" dashed" if curve.dashed else ""}" '
        f'd="{_path(curve, x, y)}"/>'
        for curve in curves
    ]
    return _svg([*drawn, _clipped(paths)], label)


def bars(
    values: Sequence[float],
    styles: Sequence[int],
    *,
    label: str,
    x_title: str,
    y_title: str = "",
    cut: int | None = None,
    cut_text: str = "",
) -> Markup:
    """A bar for each value in the order given; a dashed line stands after the first `cut`."""
    y = _scale((0.0, max(*values, 1e-9) * 1.05), HEIGHT - BOTTOM, TOP, False, margin=0.0)
    x = Scale(0.0, float(len(values)), LEFT, WIDTH - RIGHT)
    width = (WIDTH - LEFT - RIGHT) / len(values)
    drawn = [_frame(None, y, x_title, y_title)]
    paths: dict[int, list[str]] = {}
    for i, (value, style) in enumerate(zip(values, styles, strict=True)):
        left, top = x(i) + width * 0.1, y(max(value, 0.0))
        across, down = width * 0.8, HEIGHT - BOTTOM - top
        paths.setdefault(style, []).append(
            f"M{left:.1f} {top:.1f}h{across:.1f}v{down:.1f}h{-across:.1f}z"
        )
    drawn += [f'<path class="bar s{style}" d="{"".join(d)}"/>' for style, d in paths.items()]
    if cut is not None:
        place = x(cut)
        anchor = "end" if place > WIDTH / 2 else "start"
        aside = place - 5 if anchor == "end" else place + 5
        drawn.append(f'<path class="mark" d="M{place:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        drawn.append(_text(aside, TOP + 10, cut_text, anchor, "note"))
    return _svg(drawn, label)


def dots(
    values: Sequence[float],
    styles: Sequence[int],
    *,
    label: str,
    x_title: str,
    y_title: str,
    threshold: float,
    threshold_text: str,
) -> Markup:
    """A point for each value on a log scale, with a dashed line at `threshold`."""
    floor = 1e-6
    raised = [max(float(value), floor) for value in values]
    seen = (min([*raised, threshold]) * 0.7, max([*raised, threshold]) * 1.5)
    y = _scale(seen, HEIGHT - BOTTOM, TOP, True, margin=0.0)
    x = Scale(0.0, float(len(values)), LEFT, WIDTH - RIGHT)
    drawn = [_frame(None, y, x_title, y_title)]
    level = y(threshold)
    drawn.append(f'<path class="mark" d="M{LEFT} {level:.1f}H{WIDTH - RIGHT}"/>')
    drawn.append(_text(LEFT + 5, level - 5, threshold_text, "start", "note"))
    paths: dict[int, list[str]] = {}
    for i, (value, style) in enumerate(zip(raised, styles, strict=True)):
        paths.setdefault(style, []).append(f"M{x(i + 0.5):.1f} {y(value):.1f}h0")
    drawn += [f'<path class="dot s{style}" d="{"".join(d)}"/>' for style, d in paths.items()]
    return _svg(drawn, label)


def scatter(groups: Sequence[Group], *, label: str, names: bool = True) -> Markup:
    """A map without axes, its proportions kept; each group's name stands at its median."""
    every = np.concatenate([group.points for group in groups])
    low, high = np.percentile(every, 0.5, axis=0), np.percentile(every, 99.5, axis=0)
    span = float(max((high - low).max(), 1e-9)) * 1.1
    size = 400.0
    middle = (low + high) / 2
    drawn: list[str] = []
    texts: list[str] = []
    for group in groups:
        places = np.clip((group.points - middle) / span + 0.5, 0.01, 0.99) * size
        style = "other" if group.style is None else f"s{group.style}"
        d = "".join(f"M{px:.0f} {size - py:.0f}h0" for px, py in places)
        drawn.append(f'<path class="point {style}" d="{d}"/>')
        if names and group.style is not None:
            px, py = places[_central(places)]
            texts.append(_text(px, size - py + 4, group.name, "middle", "place"))
    return _svg([*drawn, *texts], label, size, size)


def _central(places: np.ndarray) -> int:
    """The point that is nearest to all others of its group: where there are any, not between."""
    some = places[:: max(1, len(places) // 200)]
    apart = np.linalg.norm(places[:, None] - some[None], axis=-1)
    return int(np.argmin(np.median(apart, axis=1)))


# -- the parts -------------------------------------------------------------------------------


def _drawable(curve: Line, log_x: bool, log_y: bool) -> Line:
    keep = [
        (float(x), float(y))
        for x, y in zip(curve.x, curve.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (not log_x or x > 0) and (not log_y or y > 0)
    ]
    return Line(curve.name, [x for x, _ in keep], [y for _, y in keep], curve.style, curve.dashed)


def _scale(values: Sequence[float], start: float, end: float, log: bool, margin: float) -> Scale:
    low, high = float(min(values)), float(max(values))
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    room = 0.0 if log else (high - low) * margin
    return Scale(low - room, high + room, start, end, log)


def _clipped(paths: Sequence[str]) -> str:
    """What leaves the axes is not drawn; there is room for half a stroke."""
    width, height = WIDTH - LEFT - RIGHT + 4, HEIGHT - TOP - BOTTOM + 4
    box = f"{LEFT - 2} {TOP - 2} {width} {height}"
    place = f'x="{LEFT - 2}" y="{TOP - 2}" width="{width}" height="{height}"'
    return f'<svg {place} viewBox="{box}">{"".join(paths)}</svg>'


def _path(curve: Line, x: Scale, y: Scale) -> str:
    if len(curve.x) == 1:  # a dot, by the round ends of its stroke
        return f"M{x(curve.x[0]):.1f} {y(curve.y[0]):.1f}h.1"
    places = [f"{x(a):.1f} {y(b):.1f}" for a, b in zip(curve.x, curve.y, strict=True)]
    return "M" + "L".join(places)


def _frame(x: Scale | None, y: Scale, x_title: str, y_title: str) -> str:
    floor = HEIGHT - BOTTOM
    parts = []
    shown = _tick_text(y)
    for tick, text in zip(y.ticks(), shown, strict=True):
        place = y(tick)
        parts.append(f'<path class="rule" d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, place + 4, text, "end"))
    parts.append(f'<path class="axis" d="M{LEFT} {floor}H{WIDTH - RIGHT}"/>')
    if x is not None:
        for tick, text in zip(x.ticks(), _tick_text(x), strict=True):
            anchor = "end" if x(tick) > WIDTH - RIGHT - 12 else "middle"
            parts.append(_text(x(tick), floor + 16, text, anchor))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_title, "middle", "title"))
    if y_title:
        middle = (TOP + floor) / 2
        parts.append(
            f'<text class="title" text-anchor="middle" '
            f'transform="translate(11 {middle:.0f}) rotate(-90)">{escape(y_title)}</text>'
        )
    return "".join(parts)


def _tick_text(scale: Scale) -> list[str]:
    ticks = scale.ticks()
    if scale.log and all(
        tick > 0 and math.log10(tick) == round(math.log10(tick)) for tick in ticks
    ):
        far = max(ticks) >= 1e5 or min(ticks) < 1e-3
        return [_power(tick) if far else number(tick, 1) for tick in ticks]
    largest = max(map(abs, ticks), default=0.0)
    if largest >= 10_000:
        return [f"{number(tick / 1000, 4)}k" if tick else "0" for tick in ticks]
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else largest or 1.0
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick + 0.0:,.{places}f}".replace("-", "−") for tick in ticks]


def _power(tick: float) -> str:
    raised = str(round(math.log10(tick))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}"


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _svg(parts: Sequence[str], label: str, width: float = WIDTH, height: float = HEIGHT) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
