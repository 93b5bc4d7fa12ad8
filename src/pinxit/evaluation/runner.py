"""`evaluate`: measure a run and write `evaluation.json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinxit.console import StageProgress, echo
from pinxit.data.home_folder import expand_home
from pinxit.data.images import Images
from pinxit.errors import PinxitError, describe_os_error
from pinxit.evaluation.drawn_samples import check_prior
from pinxit.evaluation.evaluator import Evaluator
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.options import EvalOptions, resolve_options
from pinxit.evaluation.per_image import PerImage, collect_per_image, per_image_name, write_per_image
from pinxit.evaluation.provenance import environment
from pinxit.evaluation.used_options import check_options, list_unused_amounts
from pinxit.extras import require_extra
from pinxit.models.inputs import check_images
from pinxit.models.protocols import CanEncode, HasText
from pinxit.nn.device import resolve_device
from pinxit.runs import Run, evaluation_file
from pinxit.sampling.inputs import load_for_run, load_run_data
from pinxit.training.undertraining import undertraining_warnings
from pinxit.training.verdict import assess


@dataclass(frozen=True)
class Measured:
    """The result of an evaluation that is not written yet."""

    record: dict[str, Any]
    per_image: PerImage

    @property
    def other_data(self) -> str:
        """DATA as part of a file name if they are not the run's own, else ""."""
        return self.record["protocol"].get("other_data", "")

    def write(self, run: Run, options: EvalOptions, out: Path | None = None) -> Path:
        """Write evaluation.json, or `out`, and beside it the values of single images."""
        own = run.path / evaluation_file(options.split, options.prior, self.other_data)
        folder, name = (out or own).parent, (out or own).name
        Run(folder).write(name, self.record)
        write_per_image(folder / per_image_name(name), self.per_image)
        return folder / name


def evaluate(
    run: Run | str | Path,
    data: str | Path | Sequence[str | Path] | Images | None = None,
    options: EvalOptions | None = None,
    *,
    device: str | None = None,
    progress: bool = True,
    write: bool = True,
    out: str | Path | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Measure a run on one split, `test` by default, of its data or of `data`.

    `changes` are fields of `EvalOptions` or of `GenerationParams`; they override `options`.
    Return the record that is written to the run's `evaluation.json`, or for another split than
    `test` to `evaluation-SPLIT.json`, for samples of a fitted prior to `evaluation-PRIOR.json`, for
    `data` that are not the run's own to `evaluation-DATA.json`, which is printed (unless `write` is
    False): `metrics` and `facts` {name: number}, `curves` {name: numbers}, `protocol`, `warnings`,
    `verdict`; see
    `pinxit.evaluation.metrics`. The same seed gives the same values.

    `out` is a JSON file to write instead. If the file cannot be written, the record is returned all
    the same, with a warning that says so.

    Raises UsageError for an unknown option or a value out of range, PinxitError if the run or
    the data cannot be read.
    """
    options = resolve_options(options, changes)
    run = run if isinstance(run, Run) else Run(Path(run))
    measured = measure(run, data, options, device=device, progress=progress)
    if write:
        try:
            path = measured.write(run, options, None if out is None else expand_home(out))
            if progress and measured.other_data:
                echo(f"not the run's own data: written to {path}")
        except OSError as error:
            warning = f"not written: {describe_os_error(error)}"
            echo(f"warning: {warning}")
            measured.record["warnings"].append(warning)
    return measured.record


def measure(
    run: Run,
    data: str | Path | Sequence[str | Path] | Images | None,
    options: EvalOptions,
    *,
    device: str | None = None,
    progress: bool = True,
) -> Measured:
    """Measure a run as `evaluate` does, and write nothing. Raises the errors of `evaluate`."""
    start = time.monotonic()
    run.check_weights()  # now, not after the images are loaded
    if options.fid:
        require_extra("fid", "--fid")
    if options.feature_run is not None:
        Run(options.feature_run).check_weights()
    model: Any = run.load(resolve_device(device or "auto"))
    check_prior(model, options.prior)
    check_options(model, options)
    has_text = isinstance(model, HasText)
    if has_text:
        require_extra("text", "evaluating a model of captions")
    images = _load_images(run, data, progress)
    check_images(model.info, images[:1])
    with StageProgress(progress) as stages:
        evaluator = Evaluator(model, images, options, stages)
        evaluator.warnings += undertraining_warnings(run)
        evaluator.warnings += list_unused_amounts(model, options)
        evaluator.warnings += _data_warnings(run, images, is_own=data is None)
        collected = collect(evaluator.metrics())
    if not collected.metrics:
        raise PinxitError(f"nothing can be measured of a run of the family '{run.family}'.")
    other_data = "" if data is None else run.other_data(images)
    evaluator.protocol |= {
        "data": images.source,
        "fingerprint": images.fingerprint,
        **({"other_data": other_data} if other_data else {}),
        "seed": options.seed,
        **({"prior": options.prior} if isinstance(evaluator.model, CanEncode) else {}),
        **environment(model.device),
        "seconds": round(time.monotonic() - start, 1),
    }
    record = {
        "metrics": collected.metrics,
        "facts": collected.facts,
        "curves": collected.curves,
        "protocol": evaluator.protocol,
        "warnings": evaluator.warnings,
    }
    record["verdict"] = assess(run, record).to_json()
    return Measured(record, collect_per_image(collected.estimates, evaluator.test))


def _load_images(
    run: Run, data: str | Path | Sequence[str | Path] | Images | None, progress: bool
) -> Images:
    if data is None:
        return load_run_data(run, progress=progress)
    return load_for_run(run, [data] if isinstance(data, str | Path) else data)


def _data_warnings(run: Run, images: Images, *, is_own: bool) -> list[str]:
    """Return a warning if the images are not those of training: changed, or others."""
    fingerprint = (run.config.get("data") or {}).get("fingerprint")
    if not fingerprint or fingerprint == images.fingerprint:
        return []
    if is_own:
        return [f"{images.source} has changed since training: its splits may differ"]
    if images.splits is None:
        return []
    return [
        f"the run was not trained on {images.source or 'these images'}: probe, baselines and "
        "memorisation are by the training split of these"
    ]
