"""Compare runs: a table of all metrics, or one of them as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinxit import runs
from pinxit.api.tables import Chart, CompareTable
from pinxit.data.atomic_write import write_atomically
from pinxit.errors import UsageError
from pinxit.reports import compare_runs as reports


def compare_runs(
    paths: Sequence[Path],
    metric: str | None,
    against: str | None,
    split: str | None = None,
    page: str | Path | None = None,
) -> CompareTable | Chart | Path:
    """Return the metrics of evaluated runs, or a plot of one of them against an option.

    They are those of the test split, unless `split` names another.

    With `page`, write images, likelihood and time of each run to that file, and return its path.
    Raises UsageError for fewer than two runs, and for a run that is not evaluated on the split.
    """
    opened = [runs.Run(path) for path in paths]
    if len(opened) < 2:
        raise UsageError(f"compare takes two runs or more, not {len(opened)}.")
    if (metric is None or metric == reports.BY_LAYER) != (against is None):
        raise UsageError(
            "a plot needs both metric and against, for example metric='probe_accuracy', "
            f"against='mask_ratio'; only {reports.BY_LAYER} takes no against."
        )
    if page is not None:
        if metric is not None or split is not None:
            raise UsageError("page is a file of its own: leave out metric, against and split.")
        from pinxit.reports.goal_page import render_goal_page  # imports torch

        return write_atomically(Path(page), render_goal_page(opened))
    split = split or "test"
    if metric == reports.BY_LAYER:
        curves = reports.collect_layer_probes(opened, split)
        return Chart(reports.plot_layer_probes(curves), curves)
    if metric is not None and against is not None:
        points = reports.collect_metric_by_option(opened, metric, against, split)
        return Chart(reports.plot_metric_by_option(points, metric, against), points)
    comparison = reports.compare_evaluations(opened, split)
    return CompareTable(tuple(reports.unique_names(opened)), comparison)
