"""The functions of `pinxit`: train, resume, load, look, compare, and those of a run by its path."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, overload

from pinxit import console, runs
from pinxit.api.hub import find_run
from pinxit.api.run import Run
from pinxit.api.tables import CompareTable, Evaluation, Sheet
from pinxit.data.images import Images
from pinxit.data.load_options import LoadOptions, make_load_options
from pinxit.data.split_names import SplitOrAll
from pinxit.errors import UsageError
from pinxit.nn.device import Device, resolve_device
from pinxit.training import api as training

if TYPE_CHECKING:
    from pinxit.api.inputs import AnyImages
    from pinxit.data.load import Data
    from pinxit.evaluation.options import EvalOptions
    from pinxit.training.dry_run import CostEstimate


class Train(Protocol):
    """The type of `train`; its options are those of `pinxit.training.api.train`."""

    @overload
    def __call__(
        self, model: Any, images: Data, *, dry_run: Literal[True], **options: Any
    ) -> CostEstimate: ...
    @overload
    def __call__(
        self, model: Any, images: Data, *, dry_run: Literal[False] = False, **options: Any
    ) -> Run: ...


def _return_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that returns the run with the methods of the Python interface."""

    @functools.wraps(function)
    def call(model: Any, images: Any = None, **options: Any) -> Any:
        result = function(model, images, **options)
        if not isinstance(result, runs.Run):
            return result
        run = Run(result.path)
        if isinstance(images, Images):
            run.attach_images(images)
        return run

    return call


train = cast("Train", _return_run(training.train))


def resume(
    run: runs.Run | str | Path, images: Data | None = None, *, quiet: bool = False, **settings: Any
) -> Run:
    """Continue a run from its last checkpoint and return it.

    `minutes`, `steps` or `epochs` replace the budget; other settings apply to this session only.
    Images are loaded again as the run recorded them, unless `images` is given. Raises UsageError if
    the run has spent its budget, or if its images have changed.
    """
    resumed = Run(training.resume(find_run(run), images, quiet=quiet, **settings).path)
    if isinstance(images, Images):
        resumed.attach_images(images)
    return resumed


def load(run: runs.Run | str | Path, device: Device = "auto") -> Any:
    """Load the model of a run, ready to use.

    `run` is a run, its folder, or `hf:owner/name`, which is downloaded from the Hugging Face Hub.
    Raises UsageError if there is no such run, PinxitError if it has no weights.
    """
    opened = runs.Run(find_run(run))
    opened.check_weights()  # before torch is imported
    return opened.load(resolve_device(device))


def evaluate(
    run: runs.Run | str | Path,
    data: AnyImages | None = None,
    options: EvalOptions | None = None,
    **changes: Any,
) -> Evaluation:
    """Measure a run, see `Run.evaluate`."""
    return open_run(run).evaluate(data, options, **changes)


def report(
    run: runs.Run | str | Path, out: str | Path | None = None, *, umap: bool = False
) -> Path:
    """Write one HTML file that shows a run, and return its path."""
    return open_run(run).report(out, umap=umap)


def open_run(run: runs.Run | str | Path) -> Run:
    """Return a run by its path, or by `hf:owner/name`; a `Run` unchanged."""
    if isinstance(run, Run):
        return run
    opened = Run(find_run(run))
    opened.check()
    return opened


def compare(
    *others: runs.Run | str | Path,
    metric: str | None = None,
    against: str | None = None,
    split: SplitOrAll = "test",
) -> CompareTable | Sheet:
    """Compare the metrics of evaluated runs; with `metric` and `against` plot one of them.

    `metric` is a name in evaluation.json and `against` an option of the runs; probe_by_layer is
    plotted by layer and takes no `against`. Raises UsageError for fewer than two runs, and for a
    run that is not evaluated on the split.
    """
    from pinxit.reports import compare_runs as reports

    opened = [open_run(run) for run in others]
    if len(opened) < 2:
        raise UsageError(f"compare takes two runs or more, not {len(opened)}.")
    if (metric is None or metric == reports.BY_LAYER) != (against is None):
        raise UsageError(
            "a plot needs both metric and against, for example metric='probe_accuracy', "
            f"against='mask_ratio'; only {reports.BY_LAYER} takes no against."
        )
    if metric == reports.BY_LAYER:
        curves = reports.collect_layer_probes(opened, split)
        return Sheet(reports.plot_layer_probes(curves), curves)
    if metric is not None and against is not None:
        points = reports.collect_metric_by_option(opened, metric, against, split)
        return Sheet(reports.plot_metric_by_option(points, metric, against), points)
    comparison = reports.compare_evaluations(opened, split)
    return CompareTable(tuple(reports.unique_names(opened)), comparison)


def look(
    data: str | Path | Sequence[str | Path] | Images,
    num_images: int = 64,
    *,
    load: LoadOptions | None = None,
    language: str | None = None,
    **options: Any,
) -> Sheet:
    """Describe a dataset, and return a contact sheet of its images.

    `options` are those of `load_images`. The numbers are in `values`. Raises UsageError for an
    unknown source or language, PinxitError if nothing can be read.
    """
    from pinxit.data.contact_sheet import cell_texts, contact_sheet
    from pinxit.data.description import describe, description_lines
    from pinxit.data.load import read_images

    if num_images < 1:
        raise UsageError(f"num_images must be 1 or more, not {num_images}.")
    if isinstance(data, Images):
        images = data
    else:
        images = read_images(data, make_load_options(load, **options))
    console.out("\n".join(description_lines(images)))
    shown = images.evenly_spaced(num_images)
    return Sheet(contact_sheet(shown, cell_texts(shown, language)), describe(images))


def sources() -> None:
    """Print what the source of images may be, with examples."""
    from pinxit.data.sources import list_source_types

    for source in list_source_types():
        console.out(f"{source.pattern}\n    {source.description}")
        console.out(f"    for example {', '.join(source.examples)}")
