"""The model card of a published run: front matter, samples, measured quality, how to load it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pinxit.console import format_number
from pinxit.evaluation.metrics import get_metric, group_metrics
from pinxit.hub.names import HubName
from pinxit.hub.privacy import hub_dataset, hub_name, public_source
from pinxit.reports.formatting import format_estimate
from pinxit.runs import Run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LIBRARY = "pinxit"
# ability -> task of the hub; the first one that a model has
TASKS = {
    "draw": "text-to-image",
    "edit": "image-to-image",
    "caption": "image-to-text",
    "translate": "translation",
    "sample": "unconditional-image-generation",
    "complete": "image-to-image",
    "embed": "image-feature-extraction",
    "reconstruct": "image-to-image",
}
# ability -> how to use it
CALLS = {
    "draw": 'run.draw("a text")',
    "caption": 'run.caption("image.png")',
    "edit": 'run.edit("image.png", "a text")',
    "translate": 'run.translate("a text")',
    "sample": "run.sample(16, seed=0)",
    "complete": 'run.complete("image.png", half="lower")',
    "reconstruct": 'run.reconstruct("image.png")',
}
BETTER = {"higher": "higher", "lower": "lower", "near 1": "near 1", "": ""}
# metrics with a direction that rate the estimate of a likelihood, not the model
DIAGNOSTICS = ("iw_gain", "pareto_k_share", "effective_samples")
MAX_CELL = 200


@dataclass(frozen=True)
class CardOptions:
    """What a card says beside what the run says."""

    license: str | None = None
    sample: str | None = None  # name of the file with samples in the repository


def find_task(abilities: Collection[str]) -> str | None:
    """Return the hub's name of the task of a model with these abilities."""
    return next((task for ability, task in TASKS.items() if ability in abilities), None)


def write_card(
    run: Run,
    name: HubName,
    abilities: Collection[str],
    evaluation: Mapping[str, Any],
    options: CardOptions,
) -> str:
    """Return the text of README.md; `evaluation` is what is published of it."""
    task = find_task(abilities)
    front = _front_matter(run, name, task, evaluation, options)
    sections = [
        f"# {escape(name.repo_id.split('/')[1])}",
        _introduction(run, evaluation),
        f"![Generated images]({options.sample})" if options.sample else "",
        _usage(name, abilities),
        _evaluation(run, evaluation),
        _settings(run),
        "## Limits\n\nThe model has seen its training images only, and reproduces their gaps and "
        "biases.",
    ]
    return f"---\n{front}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _front_matter(
    run: Run,
    name: HubName,
    task: str | None,
    evaluation: Mapping[str, Any],
    options: CardOptions,
) -> str:
    from huggingface_hub import ModelCardData

    dataset = hub_dataset(run)
    results = _eval_results(run, task, evaluation) if task else []
    card = ModelCardData(
        license=options.license,
        library_name=LIBRARY,
        pipeline_tag=task,
        tags=[LIBRARY, run.family.replace("_", "-"), "image-generation"],
        datasets=[dataset] if dataset else None,
        model_name=name.repo_id.split("/")[1] if results else None,
        eval_results=results or None,
    )
    return card.to_yaml().strip()


def _eval_results(run: Run, task: str | None, evaluation: Mapping[str, Any]) -> list[EvalResult]:
    """Return the metrics of the evaluation as the hub's `model-index`."""
    from huggingface_hub import EvalResult

    protocol = evaluation.get("protocol") or {}
    dataset, split = _dataset_of(run, protocol), protocol.get("split")
    return [
        EvalResult(
            task_type=task or "",
            dataset_type=hub_name(dataset) or dataset,
            dataset_name=dataset,
            dataset_split=str(split) if split else None,
            metric_type=metric,
            metric_name=full_title(metric),
            metric_value=value,
        )
        for metric, value in _values(evaluation).items()
        if is_result(metric)
    ]


def _dataset_of(run: Run, protocol: Mapping[str, Any]) -> str:
    return str(protocol.get("data") or public_source(run))


def is_own_data(run: Run, protocol: Mapping[str, Any]) -> bool:
    """Return whether the figures of a protocol were measured on the data of the training."""
    own = (run.config.get("data") or {}).get("fingerprint")
    measured = protocol.get("fingerprint")
    if own and measured:
        return own == measured
    return _dataset_of(run, protocol) == public_source(run)


def full_title(metric: str) -> str:
    """Return the title of a metric with its group; titles alone occur more than once."""
    entry = get_metric(metric)
    return f"{entry.group}: {entry.title}"


def is_result(metric: str) -> bool:
    """Return whether a metric rates a model; others are baselines, counts and facts of the data."""
    return bool(get_metric(metric).better) and metric.partition(":")[0] not in DIAGNOSTICS


def _values(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are numbers, without their errors."""
    metrics = evaluation.get("metrics") or {}
    names = [name for _, group in group_metrics(metrics) for name in group]
    values = {name: metrics[name] for name in names}
    return {name: float(v) for name, v in values.items() if v is not None and math.isfinite(v)}


def _introduction(run: Run, evaluation: Mapping[str, Any]) -> str:
    info, trained = run.info, run.config.get("trained") or {}
    color = "grey" if info.channels == 1 else "color"
    version = (run.config.get("versions") or {}).get("pinxit", "of an unknown version")
    lines = [
        f"A `{run.family}` model trained with pinxit {escape(version)} on "
        f"`{code(public_source(run))}`: {info.num_images:,} images of {info.width} x "
        f"{info.height}, {color}."
    ]
    steps, seconds = trained.get("steps"), trained.get("seconds")
    if steps and seconds:
        lines.append(f"Trained for {seconds / 60:.1f} minutes, {steps:,} steps.")
    best = trained.get("best_validation_loss")
    if best is not None:
        unit = escape(trained.get("unit") or "")
        lines.append(f"Best validation loss: {format_number(best)} {unit}.")
    if verdict := (evaluation.get("verdict") or {}).get("state"):
        lines.append(f"Verdict of its evaluation: {escape(verdict)}.")
    return " ".join(lines)


def _usage(name: HubName, abilities: Collection[str]) -> str:
    calls = [call for ability, call in CALLS.items() if ability in abilities][:3]
    return "\n".join(
        [
            "## Use",
            "",
            "```",
            "pip install 'pinxit[hub]'",
            "```",
            "",
            "```python",
            "import pinxit",
            "",
            f'run = pinxit.Run("{name}")  # the commands of pinxit as methods',
            *calls,
            f'model = pinxit.load("{name}")  # the network, on arrays',
            "```",
            "",
            "The weights are safetensors; no file of the run is a pickle.",
        ]
    )


def _evaluation(run: Run, evaluation: Mapping[str, Any]) -> str:
    values, metrics = _values(evaluation), evaluation.get("metrics") or {}
    if not values:
        return ""
    protocol = evaluation.get("protocol") or {}
    split, images = protocol.get("split"), protocol.get("test_images")
    of = f" of {images:,} images" if isinstance(images, int) else ""
    what = f"On the split `{code(split)}`{of}. " if split else ""
    if not is_own_data(run, protocol):
        what = f"Measured on other data: `{code(_dataset_of(run, protocol))}`. {what}"
    rows = []
    for metric, value in values.items():
        entry = get_metric(metric)
        number, error = format_estimate(value, metrics.get(f"{metric}_error"))
        cells = (full_title(metric), number, error, entry.unit, BETTER[entry.better])
        rows.append(f"| {' | '.join(map(escape, cells))} |")
    warnings = [f"- {escape(text)}" for text in evaluation.get("warnings") or []]
    return "\n".join(
        [
            "## Evaluation",
            "",
            f"{what}± is the standard error over images; a metric without one has none.",
            "",
            "| metric | value | error | unit | better |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            *(["", *warnings] if warnings else []),
        ]
    )


def _settings(run: Run) -> str:
    config: Sequence[tuple[str, Any]] = [
        *run.config["model"].items(),
        *run.config["training"].items(),
    ]
    rows = [
        f"| {escape(name)} | {escape(value)} |"
        for name, value in config
        if value is not None and not isinstance(value, Mapping) and value not in ((), [])
    ]
    return "\n".join(["## Settings", "", "| setting | value |", "| --- | --- |", *rows])


def escape(value: object) -> str:
    """Return a value as text of a Markdown table: one line, that is no markup."""
    text = " ".join(str(value).split())[:MAX_CELL]
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def code(value: object) -> str:
    """Return a value as the text between two backticks."""
    return " ".join(str(value).split())[:MAX_CELL].replace("`", "'")
