"""The header of the report: a sentence that describes the run, and its key metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pinxit.console import format_duration
from pinxit.data.psnr import psnr
from pinxit.evaluation.metrics import get_metric
from pinxit.models import get_family
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_count, format_estimate, format_number
from pinxit.reports.metrics_table import BETTER

# metrics to show, the first of each row that was evaluated
KEY_METRICS = (
    ("log_likelihood", "log_likelihood:label", "elbo", "elbo:label"),
    (
        "log_likelihood_bits_per_dim",
        "log_likelihood_bits_per_dim:label",
        "elbo_bits_per_dim",
        "elbo_bits_per_dim:label",
    ),
    ("t2i_exact", "sample_label_accuracy"),
    ("edit_exact", "edit_psnr"),
    ("caption_exact", "caption_exact:en", "chrf:en", "chrf:fr"),
    ("psnr", "masked_mse_75"),
    ("sharpness_samples",),
    ("frechet_samples", "probe_accuracy"),
)
# titles of metrics that are unclear without the heading of their group
TITLES = {
    "sample_label_accuracy": "classifier accuracy on samples",
    "sharpness_samples": "sharpness of samples",
    "frechet_samples": "Fréchet distance of samples",
}

UNRELIABLE = "not reliable, see the warnings"


@dataclass(frozen=True)
class KeyMetric:
    """A number in the head of the page."""

    title: str
    value: str
    unit: str = ""
    note: str = ""


# -- the sentence ----------------------------------------------------------------------------------


def describe_run(context: ReportContext) -> str:
    """Return the family, its training data and time, and the number of parameters."""
    text = f"{_describe_family(context)}, trained on {_describe_data(context)}"
    seconds = max((row.get("seconds", 0.0) for row in context.run.metrics()), default=0.0)
    if seconds:
        text += f" in {format_duration(seconds)}"
    if context.model is None:
        return f"{text}."
    count = sum(p.numel() for p in context.model.parameters())
    return f"{text}. It has {format_count(count)} parameters."


def _describe_family(context: ReportContext) -> str:
    """Return the family's name from its docstring, with source and target if it has any."""
    family, options = context.run.family, context.model_options
    first_line = (get_family(family).__doc__ or family).strip().splitlines()[0]
    title = re.split(r" \(|[,:]", first_line)[0]
    if "source" in options and "target" in options:
        title += f" ({options['source']} to {options['target']})"
    return title


def _describe_data(context: ReportContext) -> str:
    run, info = context.run, context.run.info
    color = "grey" if info.channels == 1 else "color"
    size = f"{info.width} × {info.height} pixels"
    text = f"{info.num_images:,} images of {run.data_name} ({size}, {color}"
    return text + (f", {len(info.label_names)} labels)" if info.label_names else ")")


# -- the metrics -----------------------------------------------------------------------------------


def collect_key_metrics(context: ReportContext) -> list[KeyMetric]:
    """Return the most important evaluated metrics, and figures of training."""
    metrics = [
        *_collect_evaluated_metrics(context),
        _get_validation_elbo(context),
        _count_active_units(context),
        _get_reconstruction_psnr(context),
        *_measure_training(context),
    ]
    return [metric for metric in metrics if metric is not None]


def _collect_evaluated_metrics(context: ReportContext) -> list[KeyMetric]:
    names = [next((n for n in row if n in context.metrics), None) for row in KEY_METRICS]
    return [_format_key_metric(name, context) for name in names if name is not None]


def _format_key_metric(name: str, context: ReportContext) -> KeyMetric:
    metrics = context.metrics
    metric = get_metric(name)
    text, error = format_estimate(metrics[name], metrics.get(f"{name}_error"))
    notes = [error] if error else []
    notes += [BETTER[metric.better]] if metric.better else []
    notes += [_get_doubt(context)] if metric.group == "sharpness" else []
    notes += [_get_floor(metrics)] if name == "frechet_samples" else []
    return KeyMetric(TITLES.get(name, metric.title), text, metric.unit, _join_notes(*notes))


def _get_doubt(context: ReportContext) -> str:
    """A note for metrics that can look good on a run whose images are noise."""
    return UNRELIABLE if context.quality_warnings else ""


def _get_floor(metrics: Mapping[str, float]) -> str:
    """A note with what a perfect model would have with as many samples."""
    floor = metrics.get("frechet_train_test")
    return "" if floor is None else f"floor {format_number(floor, 2)}"


def _join_notes(*notes: str) -> str:
    return ", ".join(note for note in notes if note)


def _get_validation_elbo(context: ReportContext) -> KeyMetric | None:
    """Return the best validation ELBO of training, unless the ELBO was evaluated."""
    values = [row["val_elbo"] for row in context.run.metrics() if "val_elbo" in row]
    if "elbo" in context.metrics or "elbo:label" in context.metrics or not values:
        return None
    return KeyMetric("validation ELBO", format_number(max(values), 4), "nats", BETTER["higher"])


def _count_active_units(context: ReportContext) -> KeyMetric | None:
    if context.activity is None:
        return None
    active = context.activity.active
    rate = context.activity.total_rate
    return KeyMetric(
        "active units",
        f"{active.sum()} of {len(active)}",
        f"{context.activity.unit}s",
        _join_notes(
            "" if rate is None else f"KL {format_number(rate, 3)} nats", _get_doubt(context)
        ),
    )


def _get_reconstruction_psnr(context: ReportContext) -> KeyMetric | None:
    """Return the PSNR of reconstructions, unless it was evaluated."""
    if context.reconstruction_mse is None or "psnr" in context.metrics:
        return None
    text = format_number(float(psnr(context.reconstruction_mse).mean()), 3)
    split = "all images" if context.split == "all" else f"{context.split} split"
    return KeyMetric("PSNR of reconstructions", text, "dB", split)


def _measure_training(context: ReportContext) -> list[KeyMetric]:
    """Return images seen during training; without an evaluation also the training speed."""
    rows = context.run.metrics()
    if not rows or "images_seen" not in rows[-1]:
        return []
    seen, seconds = rows[-1]["images_seen"], rows[-1].get("seconds")
    epochs = seen / max(1, context.run.info.num_images)
    note = f"{format_number(epochs, 2)} epochs" if epochs >= 1.5 else ""
    amount = KeyMetric("images seen", format_count(seen), "", note)
    if not seconds or context.metrics:
        return [amount]
    speed = format_count(seen / seconds)
    return [amount, KeyMetric("speed", speed, "images/s", "average over training")]
