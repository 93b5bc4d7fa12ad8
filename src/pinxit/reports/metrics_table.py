"""The section with the metrics of `pinxit evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinxit.evaluation.metrics import get_metric, group_metrics
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import flatten_record, format_estimate
from pinxit.reports.sections import Section

BETTER = {"higher": "higher is better", "lower": "lower is better", "near 1": "best near 1", "": ""}


@dataclass(frozen=True)
class MetricRow:
    """One metric of the table."""

    group: str  # empty: same as the row above
    name: str
    value: str
    error: str
    unit: str
    better: str


def evaluation(context: ReportContext) -> Section | None:
    """Show the metrics of evaluation.json by group, its warnings and its protocol."""
    metrics = context.metrics
    if not metrics:
        return None
    values = {
        "rows": [
            row
            for group, names in group_metrics(metrics)
            for row in _build_rows(group, names, metrics)
        ],
        "warnings": list(context.evaluation.get("warnings") or []),
        "protocol": flatten_record(context.evaluation.get("protocol") or {}),
    }
    return Section("evaluation", "Evaluation", values)


def _build_rows(group: str, names: list[str], metrics: Mapping[str, float]) -> list[MetricRow]:
    return [_build_row(group if name == names[0] else "", name, metrics) for name in names]


def _build_row(group: str, name: str, metrics: Mapping[str, float]) -> MetricRow:
    metric = get_metric(name)
    value, error = format_estimate(metrics[name], metrics.get(f"{name}_error"))
    return MetricRow(
        group,
        metric.title,
        value,
        error,
        metric.unit,
        BETTER[metric.better],
    )
