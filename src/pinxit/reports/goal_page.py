"""The page of `pinxit compare --page`: one table over runs, with samples, likelihood and time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version

from pinxit.reports.context import load_context
from pinxit.reports.goal import NUM_SHOWN, measure_goal
from pinxit.reports.templating import create_environment
from pinxit.runs import Run


def render_goal_page(runs: Sequence[Run]) -> str:
    """Generate images with each run and return one self-contained HTML document.

    Takes seconds per run. Raises UsageError if a folder is not a run, PinxitError for a run without
    weights.
    """
    for run in runs:
        run.check_weights()
    rows, missing = [], []
    for run in runs:
        context = load_context(run)
        rows.append(measure_goal(context).show())
        missing += [f"{run.name}: {line}" for line in context.missing]
    template = create_environment().get_template("goal/page.html.j2")
    return template.render(
        version=version("pinxit"),
        created=datetime.now().strftime("%-d %B %Y, %H:%M"),
        rows=rows,
        data=list(dict.fromkeys(row["data"] for row in rows)),
        missing=missing,
        max_shown=NUM_SHOWN,
    )
