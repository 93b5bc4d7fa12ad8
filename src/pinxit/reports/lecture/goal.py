"""The slide on the goal, "I have nothing, or a caption": what this run gives of it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from contextlib import suppress
from operator import itemgetter

from pinxit.errors import PinxitError
from pinxit.models.protocols import CanDraw, CanSample
from pinxit.reports.compare_runs import compare_evaluations
from pinxit.reports.context import ReportContext
from pinxit.reports.goal import measure_goal
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.run_list import is_run
from pinxit.runs import Run

TITLE = "Our goal: “I have nothing, or a caption”"
MAX_FOLDERS = 200  # beside the run that are looked at
PAGE = "families.html"


def goal(context: ReportContext) -> Slide | None:
    """Show images from nothing and from words, likelihood and time, and how to compare runs."""
    model = context.model
    if model is None:
        return None
    others = [run.shell_path for run in list_other_families(context.run)]
    runs = " ".join([context.run.shell_path, *(others or ["OTHER-RUN"])])
    values = {
        "row": measure_goal(context).show(),
        "others": others,
        "command": f"pinxit compare {runs} --page {shlex.quote(PAGE)}",
    }
    places = [locate(measure_goal), locate(compare_evaluations)]
    if isinstance(model, CanDraw):
        places.insert(0, locate(type(model).draw))
    elif isinstance(model, CanSample):
        places.insert(0, locate(type(model).sample))
    return Slide("goal", TITLE, values, tuple(places))


def list_other_families(run: Run) -> list[Run]:
    """Return the newest run of each other family in the same folder, if it has weights."""
    newest = {other.family: other for _, other in sorted(_list_beside(run), key=itemgetter(0))}
    return [other for family, other in sorted(newest.items()) if family != run.family]


def _list_beside(run: Run) -> Iterator[tuple[float, Run]]:
    """Yield the runs in the same folder, each with the time of its weights."""
    try:
        folders = sorted(itertools.islice(run.path.parent.iterdir(), MAX_FOLDERS))
    except OSError:
        return
    for folder in folders:
        other = Run(folder)
        with suppress(OSError):
            if is_run(folder) and _is_readable(other):
                yield other.weights_path.stat().st_mtime, other


def _is_readable(run: Run) -> bool:
    try:
        run.check()
    except PinxitError:
        return False
    return True
