"""What may help a run, for its report: the remedies of `pinxit explain`, or the same rules.

The rules are those of `pinxit.evaluation.advice`. A report measures less than `explain`, whose
record is taken where it is of the run's weights and data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinxit.evaluation.advice import Remedy, list_remedies
from pinxit.evaluation.causes import Metrics, find_state
from pinxit.reports.context import ReportContext
from pinxit.reports.explain_record import read_explanation
from pinxit.runs import Run
from pinxit.training.trials import hash_file
from pinxit.training.verdict import assess

SURGERY = ("marginal_kl", "total_correlation", "dimension_wise_kl")


def read_current_explanation(context: ReportContext) -> dict[str, Any]:
    """Return the content of explain.json; {} if there is none of these weights and this data."""
    record = read_explanation(context.run, only_own=False)
    weights = context.run.weights_path
    if not record or not weights.is_file():
        return {}
    protocol = record.get("protocol") or {}
    if protocol.get("weights") != hash_file(weights):
        return {}
    if not has_same_images(context.run, protocol):
        _name_other_data(context, protocol)
        return {}
    return record


def has_same_images(run: Run, record: Mapping[str, Any]) -> bool:
    """Return whether a record has the fingerprint of the run's images, if both have one.

    `Run.is_on_own_data` also takes the run's own source with images that have changed since.
    """
    own = (run.config.get("data") or {}).get("fingerprint")
    measured = record.get("fingerprint")
    return not own or not measured or own == measured


def _name_other_data(context: ReportContext, protocol: Mapping[str, Any]) -> None:
    """Say in the report, once, whose explanation it leaves out."""
    line = (
        f"explain.json is not of the images of the training, but of "
        f"{protocol.get('data') or 'others'}. Run `pinxit explain {context.run.shell_path}`."
    )
    if line not in context.missing:
        context.missing.append(line)


def find_remedies(context: ReportContext) -> list[Remedy]:
    """Return the remedies of a VAE's run in the order in which `pinxit explain` shows them."""
    record = read_current_explanation(context)
    if record:
        metrics = _numbers(record.get("metrics"))
        verdict = assess(context.run, {"metrics": metrics, "warnings": record.get("warnings")})
    else:
        metrics, verdict = collect_metrics(context), context.verdict
    return list_remedies(context.run, find_state(verdict, metrics), verdict, metrics)


def _numbers(record: Any) -> Metrics:
    """The numbers of a record, which is a file that anybody may have changed."""
    if not isinstance(record, Mapping):
        return {}
    return {name: v for name, v in record.items() if isinstance(v, int | float) or v is None}


def collect_metrics(context: ReportContext) -> Metrics:
    """Return the metrics that the rules read, as far as a report or `evaluate` measured them."""
    metrics: dict[str, float | None] = dict(context.metrics)
    if not context.measures_mutual_information:  # the parts of the rate are bounds only
        for name in SURGERY:
            metrics.pop(name, None)
    for kind, value in context.sharpness.items():
        metrics[f"sharpness_{kind}"] = value
    if context.activity is not None:
        if context.activity.total_rate is not None:
            metrics.setdefault("rate", context.activity.total_rate)
        metrics["active_units"] = float(context.activity.active.sum())
        metrics["units"] = float(len(context.activity.active))
    return metrics
