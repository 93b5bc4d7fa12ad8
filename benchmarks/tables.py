"""The result of a benchmark: rows with units, and ratios to one of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Rows of equal length under column names that include their units."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells for {len(self.columns)} columns")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        """Return aligned columns: text to the left, numbers to the right."""
        cells = [[format_cell(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        is_text = [
            all(isinstance(row[i], str | None) for row in self.rows)
            for i in range(len(self.columns))
        ]

        def align(row: Sequence[str]) -> str:
            columns = zip(row, widths, is_text, strict=True)
            return "  ".join(c.ljust(w) if text else c.rjust(w) for c, w, text in columns).rstrip()

        rule = "  ".join("-" * width for width in widths)
        body = [align(self.columns), rule, *map(align, cells)]
        return "\n".join([self.title, "", *body, "", *self.notes]).rstrip() + "\n"


def format_cell(cell: Cell) -> str:
    """Format a number with three significant digits and thousands separators; None is empty."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if abs(cell) >= 1000:
        return f"{cell:,.0f}"
    decimals = 0 if abs(cell) >= 100 else 1 if abs(cell) >= 10 else 2 if abs(cell) >= 1 else 3
    return f"{cell:.{decimals}f}"


def with_ratios(
    rows: Iterable[tuple[Cell, ...]], column: int, to: int
) -> tuple[tuple[Cell, ...], ...]:
    """Append to each row the ratio of its number in `column` to that of row `to`."""
    rows = list(rows)
    base = rows[to][column]
    return tuple((*row, ratio(row[column], base)) for row in rows)


def ratio(value: Cell, base: Cell) -> float | None:
    """Return value / base; None if one of them is not a number or the base is 0."""
    if not isinstance(value, float | int) or not isinstance(base, float | int) or base == 0:
        return None
    return value / base


def median(values: Iterable[float]) -> float:
    """Return the median. Raises ValueError if there are no values."""
    values = list(values)
    if not values:
        raise ValueError("a median needs a value")
    return statistics.median(values)
