"""Charts: ticks are round and inside, curves stay where their values say."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.reports import charts
from pinxit.reports.charts import Group, Line, Scale, linear_ticks
from pinxit.reports.formatting import number, plain, value

finite = st.floats(-1e6, 1e6)


@given(finite, st.floats(1e-3, 1e6))
def test_ticks_are_round_evenly_apart_and_inside(low, span):
    ticks = linear_ticks(low, low + span)
    assert 2 <= len(ticks) <= 12
    assert low - 1e-6 * span <= ticks[0]
    assert ticks[-1] <= low + span * (1 + 1e-6)
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-3


@given(st.floats(0, 1))
def test_a_scale_is_linear_or_logarithmic(share):
    assert Scale(2, 4, 100, 0)(2 + 2 * share) == pytest.approx(100 - 100 * share, abs=1e-9)
    assert Scale(1, 100, 0, 10, log=True)(100**share) == pytest.approx(10 * share, abs=1e-9)


def test_decades_are_the_ticks_of_a_log_scale():
    assert Scale(0.5, 2000, 0, 1, log=True).ticks() == [1, 10, 100, 1000]
    assert len(Scale(20, 50, 0, 1, log=True).ticks()) >= 2


def places(svg: str, style: str) -> np.ndarray:
    path = re.search(rf'class="line {style}[^"]*" d="([^"]*)"', svg)
    assert path
    return np.array(re.findall(r"-?[\d.]+", path[1]), float).reshape(-1, 2)


def test_a_curve_goes_through_its_values():
    svg = charts.lines([Line("a", [0, 1, 2], [0, 5, 10])], label="a", x_title="x")
    x, y = places(svg, "s0").T
    assert x[0] == charts.LEFT
    assert x[2] == charts.WIDTH - charts.RIGHT
    assert x[1] == pytest.approx((x[0] + x[2]) / 2, abs=0.1)
    assert y[1] == pytest.approx((y[0] + y[2]) / 2, abs=0.1)
    assert y[0] > y[2]  # up the page is down in SVG


def test_what_is_not_finite_or_not_positive_on_a_log_axis_is_left_out():
    line = Line("a", [0, 1, 2, 3, 4], [1, math.nan, math.inf, -1, 100])
    assert len(places(charts.lines([line], label="", x_title="x"), "s0")) == 3
    assert len(places(charts.lines([line], label="", x_title="x", log_y=True), "s0")) == 2
    nothing = Line("a", [0], [math.nan])
    assert charts.lines([nothing], label="", x_title="x") == ""


@pytest.mark.parametrize("level", [0.0, 7.5, -1e5, 1e-9])
def test_a_constant_curve_is_drawn(level):
    svg = charts.lines([Line("a", [1, 2], [level, level])], label="a", x_title="x")
    assert np.isfinite(places(svg, "s0")).all()


def test_bars_are_as_high_as_their_values():
    svg = charts.bars([4.0, 2.0, 0.0], [0, 0, 9], label="kl", x_title="latents", cut=2)
    heights = [float(h) for h in re.findall(r"h[\d.]+v([\d.]+)h-", svg)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[2] == 0
    assert "mark" in svg
    assert "nan" not in charts.bars([0.0, 0.0], [9, 9], label="", x_title="")


def test_dots_and_maps_hold_every_point():
    svg = charts.dots(
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
    svg = charts.scatter([Group("rest", points[:10]), Group("<b>", points[10:], 3)], label="m")
    assert len(re.findall(r"h0", svg)) == 40
    assert "&lt;b&gt;" in svg
    assert "rest" not in svg
    same = charts.scatter([Group("one place", np.zeros((3, 2)), 0)], label="m")
    assert "nan" not in same


@pytest.mark.parametrize(
    ("given_", "told"),
    [(1234.5, "1,234"), (0.04567, "0.0457"), (-3.14159, "−3.14"), (7.0, "7"), (1e-7, "1.00e−7")],
)
def test_numbers_as_people_read_them(given_, told):
    assert number(given_) == told
    assert number(math.nan) == "–"


def test_words():
    assert plain("kl_warmup") == "KL warmup"
    assert value(None) == "–"
    assert value([True, 0.1, "a"]) == "yes, 0.1, a"
    assert value(list(range(20))) == "0, 1, 2, 3, 4, 5, 6, 7, … (20)"
