"""What a run is, how good it is, and what its tabs offer: a record for the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import Request

from pinxit.models.drawing import Drawing, Editing
from pinxit.models.protocols import (
    CanCompleteStream,
    CanEncode,
    HasLabels,
    HasText,
)
from pinxit.reports.context import ReportContext
from pinxit.reports.summary import collect_key_metrics, describe_run
from pinxit.serve import errors
from pinxit.serve.host_names import host_name, is_loopback
from pinxit.serve.inference.loading import LoadedRun
from pinxit.serve.studio.text import clean_text
from pinxit.training.verdict import assess

log = logging.getLogger("pinxit.serve")

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
MAX_METRICS = 5
EFFORT = ("images seen", "speed")  # metrics that say how long it was trained, not how good it is
MAX_PATH_CHARS = 4_096
MAX_CHARS = 300  # of a sentence
SETTINGS = ("temperature", "guidance", "top_p", "best_of")  # that the page offers
# of models that generate token by token; measured in docs/log.md ("Text and images")
BEST_GUIDANCE, BEST_TOP_P = 1.5, 0.95


def describe_for_page(run: LoadedRun, request: Request) -> dict[str, Any]:
    """Return what the page needs to know of a run to build its tabs."""
    model = run.model
    is_conditional = isinstance(model, HasLabels) and model.label_conditional
    return {
        "name": run.name,
        "path": path_for_commands(run, request),
        "family": run.run.family,
        "width": run.info.width,
        "height": run.info.height,
        "channels": run.info.channels,
        "abilities": run.abilities,
        "labels": _clean(run.info.label_names) if is_conditional else [],
        "languages": _clean(model.text_tokenizer.languages) if isinstance(model, HasText) else [],
        "latents": model.latent_dim if isinstance(model, CanEncode) else 0,
        "settings": {task: _settings(model, task) for task in ("sample", "draw", "edit")},
        "completions_differ": isinstance(model, CanCompleteStream),
        "patch_size": getattr(model, "patch_size", 1),
    }


def _clean(names: Sequence[str]) -> list[str]:
    return [errors.clean_text(name) for name in names]


def _settings(model: Any, task: str) -> dict[str, float]:
    """Return the options that a task of the model takes, with the defaults of the page."""
    if task == "sample":
        return {"temperature": 1.0}
    if task == "draw" and isinstance(model, Drawing):
        names, temperature = model.draw_options, 1.0
    elif task == "edit" and isinstance(model, Editing):
        names, temperature = model.edit_options, model.edit_temperature
    else:
        return {}
    guidance = model.default_guidance
    if not model.config.caption_dropout:
        names = [name for name in names if name != "guidance"]  # `draw` refuses it
    elif "top_p" in names:
        guidance = max(guidance, BEST_GUIDANCE)
    best = {"temperature": temperature, "guidance": guidance, "top_p": 1.0, "best_of": 1}
    if task == "draw":
        best["top_p"] = BEST_TOP_P
    return {name: best[name] for name in SETTINGS if name in names}


def summarize(run: LoadedRun) -> dict[str, Any]:
    """Return the sentence, the verdict and the key metrics of a run's own files.

    A part that cannot be computed from a stranger's or a damaged folder is left out.
    """
    context = ReportContext(run.run, model=run.model)
    return {
        "sentence": _attempt(run, lambda: clean_text(describe_run(context), MAX_CHARS), ""),
        "verdict": _attempt(run, lambda: _describe_verdict(run), {}),
        "metrics": _attempt(run, lambda: list(_describe_metrics(context)), []),
    }


def _attempt(run: LoadedRun, work: Callable[[], Any], default: Any) -> Any:
    try:
        return work()
    except Exception as error:  # its files may be anything
        log.warning("run %s cannot be described: %s", run.name, type(error).__name__)
        return default


def _describe_verdict(run: LoadedRun) -> dict[str, str]:
    verdict = assess(run.run, run.run.evaluation())
    texts = {
        "state": verdict.state,
        "sentence": verdict.sentence,
        "remedy": verdict.remedy.replace("`", ""),
        "command": verdict.command,
    }
    return {name: clean_text(text, MAX_CHARS) for name, text in texts.items()}


def _describe_metrics(context: ReportContext) -> Iterator[dict[str, str]]:
    metrics = [metric for metric in collect_key_metrics(context) if metric.title not in EFFORT]
    for metric in metrics[:MAX_METRICS]:
        value = f"{metric.value} {metric.unit}".strip()
        yield {
            "title": clean_text(metric.title, 60),
            "value": clean_text(value, 40),
            "note": clean_text(metric.note, 80),
        }


def path_for_commands(run: LoadedRun, request: Request) -> str:
    """Return the path of a run for commands; of a path that may be private, the name only.

    Who opens the page on the machine itself may know every path.
    """
    path: Path = run.run.path
    shown = path if not path.is_absolute() or _is_local(request) else path.name
    return errors.truncate(shown, MAX_PATH_CHARS)


def _is_local(request: Request) -> bool:
    """Return whether a browser of this machine asks: by its address, not only by what it says."""
    is_forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    is_from_here = request.client is not None and is_loopback(request.client.host)
    host = host_name(request.headers.get("host", ""))
    return is_from_here and host in LOCAL_HOSTS and not is_forwarded
