"""Measure an explanation: load run and images, run the stages, keep what earlier calls trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.console import StageProgress
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.advice import Remedy, list_remedies
from pinxit.evaluation.causes import Cause, find_causes, find_state
from pinxit.evaluation.explain import Explainer
from pinxit.evaluation.explain_metrics import measure_curves, measure_metrics, outlier_warnings
from pinxit.evaluation.provenance import environment
from pinxit.evaluation.trials import TrialRunner
from pinxit.models import get_family, list_families
from pinxit.models.abilities import ABILITIES, with_article
from pinxit.models.inputs import check_images
from pinxit.models.levels import require_posterior_density
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.nn.device import resolve_device
from pinxit.reports.explain_record import explain_missing_data, explanation_files, read_explanation
from pinxit.runs import Run
from pinxit.sampling.inputs import load_for_run, load_run_data
from pinxit.training.trials import choose_steps, hash_file
from pinxit.training.verdict import Verdict, assess

NEEDED = ("encode", "elbo", "sample")  # abilities


@dataclass(frozen=True)
class Explanation:
    """The record of an explanation, and what its page shows beside."""

    run: Run
    record: dict[str, Any]
    explainer: Explainer
    causes: list[Cause]
    remedies: list[Remedy]
    verdict: Verdict


def measure_run(
    run: Run,
    data: str | Path | Sequence[str | Path] | Images | None,
    stages: StageProgress,
    *,
    curve: bool,
    try_remedies: bool,
    trial_minutes: float,
    seed: int,
    device: str | None,
) -> Explanation:
    """Measure causes, remedies and, if they are requested, trials and curve. See `explain`."""
    model = run.load(resolve_device(device or "auto"))
    _require_latents(run, model)
    if curve and has_point_posterior(model):
        raise UsageError(
            "a curve is of distortion over rate; posterior deterministic is a point, without one."
        )
    images = _load_images(run, data, stages.show)
    check_images(model.info, images[:1])
    training_images = images
    if (curve or try_remedies) and data is not None:
        training_images = _load_training_images(run, images, stages.show)
    explainer = Explainer(model, images, stages, seed)
    explainer.warnings += _data_warnings(run, images, is_own=data is None)
    metrics, curves = measure_metrics(explainer), measure_curves(explainer)
    collapse = explainer.collapse_warnings()
    verdict = assess(run, {"metrics": metrics, "warnings": collapse})
    state = find_state(verdict, metrics)
    causes = find_causes(
        metrics, verdict, pixels_depend=explainer.pixels_depend, unit=explainer.activity.unit
    )
    remedies = list_remedies(run, state, verdict, metrics)
    record: dict[str, Any] = {
        "state": state,
        "verdict": verdict.to_json(),
        "causes": [cause.to_json() for cause in causes],
        "remedies": [_describe_remedy(remedy) for remedy in remedies],
        "metrics": metrics,
        "curves": curves,
        "warnings": [*explainer.warnings, *outlier_warnings(explainer), *collapse],
        "protocol": _describe_protocol(run, explainer, seed),
    }
    if other_data := "" if data is None else run.other_data(images):
        record["protocol"]["other_data"] = other_data
    _keep_earlier(run, record)
    if curve or try_remedies:
        steps = choose_steps(run, trial_minutes)
        runner = TrialRunner(
            run, model, images, training_images, explainer.space, explainer.densities, steps,
            explainer.num_images, stages, seed,
        )  # fmt: skip
        if try_remedies:
            record["protocol"]["trial_steps"] = steps
            record["trials"] = [trial.to_json() for trial in runner.try_remedies(remedies)]
        if curve:
            record["protocol"]["curve_steps"] = steps
            record["curve"] = [point.to_json() for point in runner.trace_curve()]
    return Explanation(run, record, explainer, causes, remedies, verdict)


def _require_latents(run: Run, model: Any) -> None:
    """Raise PinxitError for a model that has no latents, with the run of its VAE if it has one."""
    if all(isinstance(model, ABILITIES[name]) for name in NEEDED):
        require_posterior_density(model, "pinxit explain")
        return
    component = run.config.get("component") or {}
    folder = run.path / str(component.get("folder", ""))
    hint = ""
    if component and (folder / "config.json").is_file():
        hint = f"\nIts VAE is a run of its own: pinxit explain {Run(folder).shell_path}"
    known = [n for n in list_families() if set(NEEDED) <= set(get_family(n).ABILITIES)]
    raise PinxitError(
        f"{with_article(run.family)} run has no latents with a prior to explain; these families "
        f"have: {', '.join(known)}.{hint}"
    )


def _load_images(
    run: Run, data: str | Path | Sequence[str | Path] | Images | None, progress: bool
) -> Images:
    if data is not None:
        given = [data] if isinstance(data, str | Path) else data
        return load_for_run(run, given, progress=progress)
    try:
        return load_run_data(run, progress=progress)
    except PinxitError as error:
        raise explain_missing_data(run, error) from None


def _load_training_images(run: Run, images: Images, progress: bool) -> Images:
    """Return the images that a run was trained on: trials go on with these, whatever is measured.

    Raises PinxitError if they cannot be found any more.
    """
    if run.own_images is None and images.fingerprint == _fingerprint_of(run):
        return images
    try:
        return load_run_data(run, progress=progress)
    except PinxitError as error:
        raise error.with_text(
            f"{error}\nTrials train on the images of the run: put them back, or leave out --try "
            "and --curve."
        ) from None


def _fingerprint_of(run: Run) -> str:
    return (run.config.get("data") or {}).get("fingerprint") or ""


def _data_warnings(run: Run, images: Images, *, is_own: bool) -> list[str]:
    fingerprint = _fingerprint_of(run)
    if not fingerprint or fingerprint == images.fingerprint:
        return []
    if is_own:
        return [f"{images.source} has changed since training: test images may be training images"]
    return [f"the run was not trained on {images.source or 'these images'}"]


def _describe_remedy(remedy: Remedy) -> dict[str, Any]:
    return {**dataclasses.asdict(remedy), "can_try": remedy.can_try}


def _describe_protocol(run: Run, explainer: Explainer, seed: int) -> dict[str, Any]:
    space = explainer.space
    return {
        "data": explainer.images.source,
        "fingerprint": explainer.images.fingerprint,
        "weights": hash_file(run.weights_path),
        "split": explainer.split,
        "test_images": len(explainer.test),
        "training_images": len(explainer.train),
        "has_validation": explainer.has_validation,
        "surgery_images": None if explainer.rate_parts is None else explainer.rate_parts.images,
        "feature_space": None if space is None else space.description,
        "seed": seed,
        **environment(explainer.model.device),
    }


def _keep_earlier(run: Run, record: dict[str, Any]) -> None:
    """Add trials and curve of an earlier call on the same weights and images, with their steps."""
    protocol = record["protocol"]
    earlier = read_explanation(run, explanation_files(protocol)[0])
    before = earlier.get("protocol") or {}
    is_same = all(before.get(key) == protocol[key] for key in ("weights", "fingerprint", "seed"))
    for name, steps in (("trials", "trial_steps"), ("curve", "curve_steps")):
        record[name] = (earlier.get(name) or []) if is_same else []
        # earlier versions had one number for both
        if record[name] and (known := before.get(steps, before.get("trial_steps"))):
            protocol[steps] = known
