"""What a benchmark says: rows with units, and ratios to one of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Rows of equal length under column names that carry their units."""

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

    def text(self) -> str:
        """Columns aligned: words to the left, numbers to the right."""
        cells = [[shown(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        words = [
            all(isinstance(row[i], str | None) for row in self.rows)
            for i in range(len(self.columns))
        ]

        def line(row: Sequence[str]) -> str:
            each = zip(row, widths, words, strict=True)
            return "  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in each).rstrip()

        rule = "  ".join("-" * width for width in widths)
        body = [line(self.columns), rule, *map(line, cells)]
        return "\n".join([self.title, "", *body, "", *self.notes]).rstrip() + "\n"


def shown(cell: Cell) -> str:
    """Three significant digits, thousands apart; nothing for None."""
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
    """The rows, each with its number in `column` over that of row `to` added at the end."""
    rows = list(rows)
    base = rows[to][column]
    return tuple((*row, ratio(row[column], base)) for row in rows)


def ratio(value: Cell, base: Cell) -> float | None:
    """value / base; None where one of them is no number or the base is 0."""
    if not isinstance(value, float | int) or not isinstance(base, float | int) or base == 0:
        return None
    return value / base


def median(values: Iterable[float]) -> float:
    """The middle of several runs. Raises ValueError where there are none."""
    values = list(values)
    if not values:
        raise ValueError("a median needs a value")
    return statistics.median(values)
