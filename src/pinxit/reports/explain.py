"""`explain`: why the samples of a run are blurry, as a record and as one self-contained page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinxit.console import StageProgress, echo
from pinxit.data.atomic_write import write_atomically
from pinxit.data.home_folder import expand_home
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError, describe_os_error
from pinxit.extras import require_extra
from pinxit.reports.explain_record import TRIAL_MINUTES, explanation_files
from pinxit.runs import Run


def explain(
    run: Run | str | Path,
    data: str | Path | Sequence[str | Path] | Images | None = None,
    *,
    curve: bool = False,
    try_remedies: bool = False,
    trial_minutes: float = TRIAL_MINUTES,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = True,
    write: bool = True,
) -> dict[str, Any]:
    """Measure why the samples of a VAE are blurry, and what would help.

    `data` replaces the run's own data. `curve` trains a few short runs at other beta, and
    `try_remedies` one for each remedy, each for about `trial_minutes` from the run's own weights,
    in `RUN/explain/`; those that are finished are not trained again.

    Return the record that is written to `explain.json`, beside the page `explain.html` (or `out`),
    for `data` that are not the run's own to `explain-DATA.json` and `explain-DATA.html`, which is
    printed, unless `write` is False; with a warning if the run folder cannot be written. It has
    `state`, `causes`, `remedies`, `trials` by measured gain,
    `curve`, `metrics` {name: number}, the error of `x` as `x_error`, `curves`, `protocol`,
    `warnings`.

    Raises UsageError for invalid arguments, PinxitError if the run has no latents or no weights,
    or if its data cannot be found any more.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    check_arguments(run, trial_minutes, out, curve=curve)
    require_extra("explain", "pinxit explain")
    from pinxit.reports.explain_measure import measure_run  # imports torch

    start = time.monotonic()
    with StageProgress(progress) as stages:
        explanation = measure_run(
            run,
            data,
            stages,
            curve=curve,
            try_remedies=try_remedies,
            trial_minutes=trial_minutes,
            seed=seed,
            device=device,
        )
    record = explanation.record
    record["protocol"]["seconds"] = round(time.monotonic() - start, 1)
    if write:
        from pinxit.reports.explain_page import render_explanation

        page = render_explanation(explanation)
        record_file, page_file = explanation_files(record["protocol"])
        path = run.path / page_file if out is None else expand_home(out)
        try:
            write_atomically(path, page)
        except OSError as error:
            reason = error.strerror or error
            raise PinxitError(f"the explanation cannot be written to {path}: {reason}.") from None
        is_written = _write_record(run, record_file, record)
        if progress and is_written and record["protocol"].get("other_data"):
            echo(f"not the run's own data: written to {run.path / record_file} and {path}")
    return record


def _write_record(run: Run, file: str, record: dict[str, Any]) -> bool:
    """Write the record and return whether it is written; a warning if that fails.

    The page is written, and Python has the record: the folder may be one that cannot be written,
    for which `out` is.
    """
    try:
        run.write(file, record)
    except OSError as error:
        warning = f"not written: {describe_os_error(error)}"
        echo(f"warning: {warning}")
        record["warnings"].append(warning)
        return False
    return True


def check_arguments(
    run: Run, trial_minutes: float, out: str | Path | None, *, curve: bool = False
) -> None:
    """Check what can be checked without torch.

    Raises UsageError for an invalid argument, PinxitError for a run without weights.
    """
    if not 0 < trial_minutes < float("inf"):
        raise UsageError(f"trial_minutes must be above 0, not {trial_minutes}.")
    if out is not None and expand_home(out).is_dir():
        raise UsageError(f"{out} is a folder. Name the file to write, e.g. {out}/explain.html.")
    run.check_weights()
    if curve and run.config["model"].get("beta") == 0:
        raise UsageError("a curve is over multiples of beta, which is 0 in this run.")
