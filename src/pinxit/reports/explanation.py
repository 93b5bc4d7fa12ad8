"""The section "Causes of blur, measured": what `pinxit explain` found on this run."""

from __future__ import annotations

from pinxit.reports.context import ReportContext
from pinxit.reports.explain_page import show_curve, show_trials
from pinxit.reports.explain_record import PAGE
from pinxit.reports.remedies import read_current_explanation
from pinxit.reports.sections import Section


def explanation(context: ReportContext) -> Section | None:
    """The causes, the curve and the trials of explain.json, if it is of this run."""
    record = read_current_explanation(context)
    if not record:
        return None
    protocol = record["protocol"]
    values = {
        "state": record["state"],
        "causes": record["causes"],
        "trials": show_trials(record["trials"]),
        "trial_steps": protocol.get("trial_steps"),
        "images": protocol["test_images"],
        "split": protocol.get("split", "test"),
        "has_validation": protocol.get("has_validation", True),
        "has_page": (context.run.path / PAGE).is_file(),
        "page": PAGE,
        **show_curve(record["curve"]),
    }
    return Section("explanation", "Causes of blur, measured", values)
