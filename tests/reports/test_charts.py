"""Charts: round ticks inside the axes, and every value at its position."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.reports import charts
from pinxit.reports.charts import (
    Curve,
    PointGroup,
    Scale,
    draw_bar_chart,
    draw_dot_plot,
    draw_line_chart,
    draw_scatter_plot,
    linear_ticks,
)

finite = st.floats(-1e6, 1e6)


@given(finite, st.floats(1e-3, 1e6))
def test_ticks_are_round_evenly_spaced_and_within_range(low, span):
    ticks = linear_ticks(low, low + span)
    assert 2 <= len(ticks) <= 12
    assert low - 1e-6 * span <= ticks[0]
    assert ticks[-1] <= low + span * (1 + 1e-6)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-3


@given(st.floats(0, 1))
def test_scale_is_linear_or_logarithmic(fraction):
    assert Scale(2, 4, 100, 0)(2 + 2 * fraction) == pytest.approx(100 - 100 * fraction, abs=1e-9)
    assert Scale(1, 100, 0, 10, log=True)(100**fraction) == pytest.approx(10 * fraction, abs=1e-9)


def test_ticks_of_a_log_scale_are_powers_of_ten():
    assert Scale(0.5, 2000, 0, 1, log=True).ticks() == [1, 10, 100, 1000]
    assert len(Scale(20, 50, 0, 1, log=True).ticks()) >= 2


def curve_points(svg: str, style: str) -> np.ndarray:
    """The points `[n, 2]` of the curve with a color class, in drawing units."""
    path = re.search(rf'class="line {style}[^"]*" d="([^"]*)"', svg)
    assert path
    return np.array(re.findall(r"-?[\d.]+", path[1]), float).reshape(-1, 2)


def test_curve_passes_through_its_points():
    svg = draw_line_chart([Curve("a", [0, 1, 2], [0, 5, 10])], label="a", x_title="x")
    x, y = curve_points(svg, "s0").T
    assert x[0] == charts.LEFT
    assert x[2] == charts.WIDTH - charts.RIGHT
    assert x[1] == pytest.approx((x[0] + x[2]) / 2, abs=0.1)
    assert y[1] == pytest.approx((y[0] + y[2]) / 2, abs=0.1)
    assert y[0] > y[2]  # y grows downward in SVG


def test_points_that_are_not_finite_or_not_positive_on_a_log_axis_are_dropped():
    curve = Curve("a", [0, 1, 2, 3, 4], [1, math.nan, math.inf, -1, 100])
    assert len(curve_points(draw_line_chart([curve], label="", x_title="x"), "s0")) == 3
    assert len(curve_points(draw_line_chart([curve], label="", x_title="x", log_y=True), "s0")) == 2
    empty = Curve("a", [0], [math.nan])
    assert draw_line_chart([empty], label="", x_title="x") == ""


@pytest.mark.parametrize("level", [0.0, 7.5, -1e5, 1e-9])
def test_constant_curve_is_drawn(level):
    svg = draw_line_chart([Curve("a", [1, 2], [level, level])], label="a", x_title="x")
    assert np.isfinite(curve_points(svg, "s0")).all()


def test_bar_heights_are_proportional_to_values():
    svg = draw_bar_chart([4.0, 2.0, 0.0], [0, 0, 9], label="kl", x_title="latents", mark_after=2)
    heights = [float(h) for h in re.findall(r"h[\d.]+v([\d.]+)h-", svg)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[2] == 0
    assert "mark" in svg
    assert "nan" not in draw_bar_chart([0.0, 0.0], [9, 9], label="", x_title="")


def test_dot_and_scatter_plots_draw_every_point():
    svg = draw_dot_plot(
        [1.0, 0.0, 0.2],
        [0, 9, 0],
        label="",
        x_title="",
        y_title="",
        threshold=0.01,
        threshold_text="<&",
    )
    assert len(re.findall(r"h0", svg)) == 3
    assert "&lt;&amp;" in svg
    points = np.random.default_rng(0).normal(size=(40, 2))
    svg = draw_scatter_plot(
        [PointGroup("rest", points[:10]), PointGroup("<b>", points[10:], 3)], label="m"
    )
    assert len(re.findall(r"h0", svg)) == 40
    assert "&lt;b&gt;" in svg
    assert "rest" not in svg
    single = draw_scatter_plot([PointGroup("one point", np.zeros((3, 2)), 0)], label="m")
    assert "nan" not in single


def scatter_points(svg: str) -> np.ndarray:
    """The points `[n, 2]` of a scatter plot, in drawing units."""
    return np.array(re.findall(r"M([\d.]+) ([\d.]+)h0", svg), float)


def test_names_in_a_scatter_plot_do_not_hide_points():
    points = np.random.default_rng(0).normal(size=(30, 2))
    svg = draw_scatter_plot([PointGroup(f"label {i}", points, i) for i in range(3)], label="m")
    assert "<text" not in svg
    assert re.findall(r"<title>([^<]*)</title></path>", svg) == ["label 0", "label 1", "label 2"]


def test_scatter_plot_is_filled_by_the_points_despite_outliers():
    points = np.random.default_rng(0).normal(size=(400, 2)) * (3, 1)
    points[:3] = [(500, 0), (-500, 9), (0, 800)]
    svg = draw_scatter_plot([PointGroup("all", points)], label="m")
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())  # pyright: ignore[reportOptionalMemberAccess]
    xy = scatter_points(svg)
    assert xy.min() >= charts.EDGE
    assert xy[:, 0].max() <= width - charts.EDGE
    assert xy[:, 1].max() <= height - charts.EDGE + 0.5
    low, high = np.percentile(xy, (5, 95), axis=0)
    assert ((high - low) > np.array([width, height]) * 0.5).all()
    inside = slice(3, 40)
    ratio = np.ptp(xy[inside], axis=0) / np.ptp(points[inside], axis=0)
    assert ratio[0] == pytest.approx(ratio[1], rel=0.1)  # equal scales
