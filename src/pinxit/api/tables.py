"""What `evaluate` and `compare` return: values that show themselves as tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.console import format_estimate
from pinxit.data.atomic_write import write_atomically
from pinxit.data.home_folder import expand_home
from pinxit.errors import UsageError
from pinxit.evaluation.metrics import get_metric, group_metrics
from pinxit.reports.compare_runs import Comparison
from pinxit.sampling.grids import save_sheet
from pinxit.training.verdict import Verdict

Row = Sequence[str]


class Evaluation(dict[str, Any]):
    """The content of evaluation.json; shows itself as a table of the metrics."""

    @property
    def metrics(self) -> dict[str, float]:
        return self["metrics"]

    @property
    def verdict(self) -> Verdict:
        return Verdict(**self["verdict"])

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield the group of each metric, and title, value with standard error, unit, direction."""
        values = self["metrics"] | self["facts"]
        for group, names in group_metrics(values):
            for name in names:
                metric = get_metric(name)
                value = format_estimate(values[name], values.get(f"{name}_error"))
                yield group, (metric.title, value, metric.unit, metric.better)

    def _notes(self) -> list[str]:
        return [f"verdict: {self.verdict}", *(f"warning: {w}" for w in self["warnings"])]

    def __repr__(self) -> str:
        lines = [f"{row[0]}: {row[1]} {row[2]}".rstrip() for _, row in self.rows()]
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        header = ("metric", "value", "unit", "better")
        return html_table(header, self.rows(), self._notes())


@dataclass(frozen=True)
class CompareTable:
    """The metrics of several runs side by side, with the differences to the first one."""

    names: tuple[str, ...]  # of the runs
    comparison: Comparison

    def rows(self) -> Iterator[tuple[str, Row]]:
        metrics, errors = self.comparison.metrics, self.comparison.errors
        for group, names in group_metrics(metrics):
            for name in names:
                pairs = zip(metrics[name], errors[name], strict=True)
                values = ["" if v is None else format_estimate(v, e) for v, e in pairs]
                metric = get_metric(name)
                yield group, (metric.title, *values, metric.unit, metric.better)

    def _notes(self) -> list[str]:
        return [f"warning: {warning}" for warning in self.comparison.warnings]

    def __repr__(self) -> str:
        lines = [": ".join((row[0], "  ".join(row[1:-1]))) for _, row in self.rows()]
        return "\n".join(["  ".join(self.names), *lines, *self._notes()])

    def _repr_html_(self) -> str:
        return html_table(("metric", *self.names, "unit", "better"), self.rows(), self._notes())


@dataclass(frozen=True)
class Chart:
    """A chart that shows itself; `values` are the numbers that it is drawn from."""

    svg: str
    values: Any = None

    def save(self, path: str | Path) -> Path:
        """Save it as `.svg`. Raises UsageError for another suffix."""
        path = expand_home(path)
        if path.suffix.lower() != ".svg":
            raise UsageError(f"a chart is saved as .svg, not '{path.suffix}': {path}")
        return write_atomically(path, self.svg)

    def __repr__(self) -> str:
        return f"Chart({self.values!r})"

    def _repr_svg_(self) -> str:
        return self.svg


@dataclass(frozen=True)
class Sheet:
    """An image file that shows itself; `values` are the numbers that it is drawn from."""

    png: bytes
    values: Any = None

    def save(self, path: str | Path) -> Path:
        """Save it as `.png`, `.jpg` or `.webp`."""
        return save_sheet(self.png, path)

    def __repr__(self) -> str:
        return f"Sheet({len(self.png) / 1000:,.0f} kB)"

    def _repr_png_(self) -> bytes:
        return self.png


def html_table(header: Row, rows: Iterable[tuple[str, Row]], notes: Iterable[str]) -> str:
    """Return a table with a heading above each group of rows, and lines of text below it."""
    lines = ["<table><thead><tr>", *_cells(header, "th"), "</tr></thead><tbody>"]
    last = None
    for group, row in rows:
        if group != last:
            title = html.escape(group)
            lines.append(
                f'<tr><th colspan="{len(header)}" style="text-align: left">{title}</th></tr>'
            )
            last = group
        lines += ["<tr>", *_cells(row, "td"), "</tr>"]
    lines += ["</tbody></table>", *(f"<div>{html.escape(note)}</div>" for note in notes)]
    return "".join(lines)


def _cells(row: Row, tag: str) -> Iterator[str]:
    """The first cell is text, the others are to the right."""
    for i, cell in enumerate(row):
        style = "left" if i in (0, len(row) - 1, len(row) - 2) else "right"
        yield f'<{tag} style="text-align: {style}">{html.escape(cell)}</{tag}>'
