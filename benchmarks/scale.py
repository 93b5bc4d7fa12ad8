"""What 100 million images cost: hours and machines, and what binds next. `docs/scale.md`.

A synchronous training step of N nodes is simulated: each node computes its batch in a time that
varies, the slowest one is waited for, gradients are reduced in a ring. Reading overlaps with
computing; on a CPU node decoding takes the same cores, beside a GPU it has its own. Checkpoints
stop a training while they are copied, and a node that fails costs half of the time between two
checkpoints and a restart. The figures of one node are recorded in `scale.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import Cell, Table

FIGURES = Path(__file__).with_name("scale.toml")
NODES = (1, 8, 64, 512)
SHOWN = 64  # nodes at which the next bottleneck is named
DAY = 24.0  # hours
STATE_BYTES = 16  # of a parameter in a checkpoint: weights, their average, two moments
GRADIENT_BYTES = 4
NUM_STEPS = 400  # that are simulated


@dataclass(frozen=True)
class Node:
    """A kind of machine."""

    name: str
    decoded_per_second: float  # images, by all its cores
    shares_cores: bool  # between decoding and the model


@dataclass(frozen=True)
class Assumptions:
    """What is not measured."""

    images: int
    file_bytes: float
    network: float  # bytes per second of a node
    latency: float  # seconds of a message
    store: float  # bytes per second of the store, for all nodes
    variation: float  # standard deviation of the logarithm of a node's time of a step
    hours_between_failures: float  # of a node
    restart_seconds: float
    checkpoint_seconds: float  # between two

    @property
    def read_by_node(self) -> float:
        """Images per second that one node can read, if the store gives it all it takes."""
        return self.network / self.file_bytes


@dataclass(frozen=True)
class Training:
    """What one node trains."""

    model: str
    node: Node
    images_per_second: float  # decoded already
    batch: int
    parameters: float


@dataclass(frozen=True)
class Cost:
    """Seconds of an image of a training or mapping on N nodes, by what takes them."""

    seconds: dict[str, float]
    nodes: int

    def hours(self, images: int) -> float:
        return images * sum(self.seconds.values()) / 3600

    def next_bottleneck(self) -> str:
        """Return what takes most of the time beside the model."""
        others = {name: value for name, value in self.seconds.items() if name != "model"}
        return max(others, key=lambda name: others[name])


def simulate_training(training: Training, nodes: int, given: Assumptions, seed: int = 0) -> Cost:
    """Return what an image takes: its part of a step, of the checkpoints, of failures."""
    rng, batch = np.random.default_rng(seed), training.batch
    model = batch / training.images_per_second
    decode = batch / training.node.decoded_per_second
    busy = model + decode if training.node.shares_cores else model
    wait = 0.0 if training.node.shares_cores else max(0.0, decode - model)
    slowest = np.exp(given.variation * rng.standard_normal((NUM_STEPS, nodes))).max(axis=1).mean()
    read = batch * given.file_bytes / min(given.network, given.store / nodes)
    reduce = reduce_seconds(training.parameters * GRADIENT_BYTES, nodes, given)
    step = {
        "model": model,
        "decode": busy - model + wait,
        "slowest node": busy * max(0.0, slowest - 1),
        "network and store": max(0.0, read - busy - wait),
        "all-reduce": reduce,
    }
    seconds = sum(step.values())
    checkpoint = training.parameters * STATE_BYTES / given.network / given.checkpoint_seconds
    lost = given.checkpoint_seconds / 2 + given.restart_seconds
    failures = nodes / (3600 * given.hours_between_failures) * lost
    step |= {"checkpoints": seconds * checkpoint, "failures": seconds * failures}
    return Cost({name: value / batch / nodes for name, value in step.items()}, nodes)


def reduce_seconds(size: float, nodes: int, given: Assumptions) -> float:
    """Return the seconds of a ring all-reduce of so many bytes: 2 (N - 1) messages of size / N."""
    if nodes == 1:
        return 0.0
    return 2 * (nodes - 1) * (size / nodes / given.network + given.latency)


def mapping_cost(images_per_second: float, nodes: int, given: Assumptions) -> Cost:
    """Return what an image takes: its model and decoding on a node, and reading where that binds.

    Nodes do not wait for one another; a node that fails loses one block.
    """
    read = given.file_bytes / min(given.network, given.store / nodes)
    own = 1 / images_per_second
    return Cost({"model": own / nodes, "network and store": max(0.0, read - own) / nodes}, nodes)


def read_figures(path: Path = FIGURES) -> dict[str, Any]:
    """Return the recorded figures."""
    return tomllib.loads(path.read_text("utf-8"))


def plan(figures: dict[str, Any]) -> tuple[Table, Table]:
    """Return the tables of hours and machines of training and of mapping."""
    given = Assumptions(**figures["assumptions"])
    nodes = {name: Node(name, **values) for name, values in figures["nodes"].items()}
    trainings = [Training(**{**row, "node": nodes[row["node"]]}) for row in figures["training"]]
    training = Table(
        f"Hours of one pass over {given.images / 1e6:.0f} million images",
        ("model", "node", *(f"{n} node{'s' * (n > 1)}" for n in NODES), f"next, at {SHOWN} nodes"),
        tuple(_training_row(row, given) for row in trainings),
    )
    rows = [
        _mapping_row(row["task"], nodes[row["node"]], row["images_per_second"], given)
        for row in figures["mapping"]
    ]
    mapping = Table(
        f"Mapping {given.images / 1e6:.0f} million images once",
        ("task", "node", "images/s of a node", "node hours", "nodes for a day", "they read"),
        tuple(rows),
    )
    return training, mapping


def _training_row(training: Training, given: Assumptions) -> tuple[Cell, ...]:
    costs = {n: simulate_training(training, n, given) for n in NODES}
    hours = (format_hours(costs[n].hours(given.images)) for n in NODES)
    return training.model, training.node.name, *hours, costs[SHOWN].next_bottleneck()


def _mapping_row(
    task: str, node: Node, images_per_second: float, given: Assumptions
) -> tuple[Cell, ...]:
    hours = mapping_cost(images_per_second, 1, given).hours(given.images)
    count = next(
        n
        for n in range(1, 1_000_000)
        if mapping_cost(images_per_second, n, given).hours(given.images) <= DAY
    )
    rate = count * min(images_per_second, given.read_by_node) * given.file_bytes
    return (
        task, node.name, f"{images_per_second:,.0f}", format_hours(hours), f"{count:,}",
        f"{rate / 1e6:,.0f} MB/s",
    )  # fmt: skip


def format_hours(hours: float) -> str:
    """Return hours with two digits: what is simulated is no better than that."""
    digits = max(0, 1 - int(np.floor(np.log10(hours)))) if hours > 0 else 0
    return f"{float(f'{hours:.2g}'):,.{min(digits, 2)}f}"


def to_markdown(table: Table) -> str:
    """Return a table as Markdown."""
    rule = ["---"] * len(table.columns)
    rows = [table.columns, rule, *table.rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows) + "\n"


def scale(quick: bool) -> Iterator[Table]:
    """Yield what a node of this machine does now, and the plan of the recorded figures."""
    from benchmarks.scale_measure import measure_node

    yield from measure_node(quick)
    yield from plan(read_figures())
