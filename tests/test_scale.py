"""`docs/scale.md` says what the recorded figures give, and the simulation has its known limits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import PARTS
from benchmarks.scale import (
    DAY,
    Assumptions,
    Node,
    Training,
    format_hours,
    mapping_cost,
    plan,
    read_figures,
    reduce_seconds,
    simulate_training,
    to_markdown,
)

PAGE = (Path(__file__).parent.parent / "docs" / "scale.md").read_text("utf-8")
NOTHING = Assumptions(
    images=1_000_000, file_bytes=0.0, network=1e9, latency=0.0, store=1e9, variation=0.0,
    hours_between_failures=float("inf"), restart_seconds=0.0, checkpoint_seconds=1e12,
)  # fmt: skip
GPU = Node("gpu", decoded_per_second=float("inf"), shares_cores=False)


def test_the_tables_of_the_page_are_those_of_the_recorded_figures():
    for table in plan(read_figures()):
        assert to_markdown(table) in PAGE, f"{table.title}: copy it from python -m benchmarks scale"


def test_the_page_names_the_assumptions():
    figures = read_figures()["assumptions"]
    for text in (
        f"{figures['network'] / 1e9:g} GB/s", f"{figures['store'] / 1e9:g} GB/s",
        f"{figures['checkpoint_seconds'] / 60:g} minutes", f"{figures['file_bytes'] / 1e3:.0f} kB",
        f"{figures['hours_between_failures']:,} hours", f"{figures['variation']:.0%}",
    ):  # fmt: skip
        assert text.replace("%", " %") in PAGE
    assert "scale" in PARTS


def test_without_losses_n_nodes_are_n_times_as_fast():
    training = Training("model", GPU, images_per_second=100.0, batch=64, parameters=0)
    for nodes in (1, 2, 100):
        cost = simulate_training(training, nodes, NOTHING)
        assert cost.hours(3600 * 100) == pytest.approx(1 / nodes)
        assert mapping_cost(100.0, nodes, NOTHING).hours(3600 * 100) == pytest.approx(1 / nodes)


@given(
    nodes=st.integers(1, 200), parameters=st.floats(1e5, 1e9), decoded=st.floats(10, 1e5),
    shares=st.booleans(), file_bytes=st.floats(1e3, 1e6), speed=st.floats(1, 1e4),
)  # fmt: skip
def test_every_loss_costs_time_and_more_nodes_cost_more_together(
    nodes, parameters, decoded, shares, file_bytes, speed
):
    lossy = dataclasses.replace(
        NOTHING, file_bytes=file_bytes, latency=1e-4, variation=0.05, restart_seconds=60,
        hours_between_failures=1000, checkpoint_seconds=600,
    )  # fmt: skip
    node = Node("node", decoded, shares)
    training = Training("model", node, speed, 64, parameters)
    cost = simulate_training(training, nodes, lossy)
    assert all(value >= 0 for value in cost.seconds.values())
    assert cost.seconds["model"] == pytest.approx(1 / speed / nodes)
    node_seconds = sum(cost.seconds.values()) * nodes
    one = sum(simulate_training(training, 1, lossy).seconds.values())
    assert node_seconds >= 0.99 * one  # 1 %: the slowest of one node varies too
    assert sum(cost.seconds.values()) >= 1 / nodes * max(1 / speed, 0 if shares else 1 / decoded)
    assert cost.next_bottleneck() != "model"


def test_what_binds_is_named():
    base = Training("model", GPU, images_per_second=100.0, batch=64, parameters=1e6)
    slow_decoding = dataclasses.replace(base, node=Node("gpu", 10.0, False))
    assert simulate_training(slow_decoding, 8, NOTHING).next_bottleneck() == "decode"
    large = dataclasses.replace(base, parameters=1e10)
    assert simulate_training(large, 8, NOTHING).next_bottleneck() == "all-reduce"
    full = dataclasses.replace(NOTHING, file_bytes=1e8)
    assert simulate_training(base, 8, full).next_bottleneck() == "network and store"
    uneven = dataclasses.replace(NOTHING, variation=0.5)
    assert simulate_training(base, 64, uneven).next_bottleneck() == "slowest node"


def test_a_ring_sends_twice_the_gradients():
    given_ = dataclasses.replace(NOTHING, network=1e9)
    assert reduce_seconds(1e9, 1, given_) == 0
    assert reduce_seconds(1e9, 2, given_) == pytest.approx(1.0)
    assert reduce_seconds(1e9, 1_000, given_) == pytest.approx(2.0, rel=0.01)


def test_the_slowest_of_many_is_simulated():
    """The mean of the largest of 100 normal numbers is 2.508."""
    training = Training("model", GPU, 1.0, 1, 0)
    given_ = dataclasses.replace(NOTHING, variation=0.01)
    slowest = simulate_training(training, 100, given_).seconds["slowest node"] * 100
    assert np.log1p(slowest) == pytest.approx(0.02508, abs=0.001)


def test_nodes_for_a_day_are_the_fewest():
    _, mapping = plan(read_figures())
    hours = [float(str(row[3]).replace(",", "")) for row in mapping.rows]
    counts = [int(str(row[4]).replace(",", "")) for row in mapping.rows]
    for total, count in zip(hours, counts, strict=True):
        assert count >= 0.95 * total / DAY


def test_hours_have_two_digits():
    assert [format_hours(x) for x in (0.123, 1.26, 12.6, 126.0, 12_612.0)] == [
        *("0.12", "1.3", "13", "130", "13,000")
    ]
