"""The functions of `pinxit`: train, resume, load, look, compare, and those of a run by its path."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, overload

from pinxit import console, runs
from pinxit.api.hub import find_run
from pinxit.api.run import Run
from pinxit.api.settings import add_settings, settings_text
from pinxit.api.tables import Chart, CompareTable, Evaluation, Sheet
from pinxit.data.images import Images
from pinxit.data.load_options import LoadOptions, check_no_options, make_load_options
from pinxit.data.split_names import SplitOrAll
from pinxit.errors import UsageError, did_you_mean
from pinxit.models import get_family
from pinxit.nn.device import Device, resolve_device
from pinxit.training import api as training
from pinxit.training.settings import TrainingSettings
from pinxit.training.settings_file import save_settings

if TYPE_CHECKING:
    from pinxit.api.inputs import AnyImages
    from pinxit.data.load import Data
    from pinxit.evaluation.options import EvalOptions
    from pinxit.hub.push import PushResult
    from pinxit.onnx_export.api import Exported
    from pinxit.training.dry_run import CostEstimate

# names that users of other libraries try -> options
SYNONYMS = {
    **{"lr": "learning_rate", "bs": "batch_size", "time": "minutes", "budget": "minutes"},
    **{"output": "out", "output_dir": "out", "image_size": "size", "resolution": "size"},
    **{"force": "overwrite", "replace": "overwrite", "num_epochs": "epochs", "verbose": "quiet"},
}


class Train(Protocol):
    """The type of `train`: its options are those of `pinxit.training.api.train`, of `LoadOptions`,
    and those of the model if that is the name of a family."""

    @overload
    def __call__(
        self,
        model: Any = None,
        images: Data | None = None,
        *,
        dry_run: Literal[True],
        **options: Any,
    ) -> CostEstimate: ...
    @overload
    def __call__(
        self,
        model: Any = None,
        images: Data | None = None,
        *,
        dry_run: Literal[False] = False,
        **options: Any,
    ) -> Run: ...


@functools.wraps(training.train)
def _train(
    model: Any = None,
    images: Any = None,
    *,
    config: str | Path | None = None,
    save_config: str | Path | None = None,
    **options: Any,
) -> Any:
    if config is not None:
        model, images, options = add_settings(config, model, images, options)
    if model is None or images is None:
        raise UsageError("train needs a model and images, or a settings file that names them.")
    report_at_end = options.pop("report", False)
    if save_config is not None:
        text = settings_text(model, images, options | ({"report": True} if report_at_end else {}))
        save_settings(save_config, text, overwrite=bool(options.get("overwrite")))
    model, options = sort_options(model, options)
    result = training.train(model, images, **options)
    if not isinstance(result, runs.Run):
        return result
    run = Run(result.path)
    if isinstance(images, Images):
        run.attach_images(images)
    if report_at_end:
        run.report()
    return run


def sort_options(model: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model and the arguments of `training.train`, of options as the command takes them.

    Those of loading images go into `load`; those of the model, if it is the name of a family, into
    its configuration. Raises UsageError for an option that is none of these.
    """
    known, load_names, model_names = option_names(model)
    for name in options:
        if name not in known | load_names | model_names:
            hint = did_you_mean(name, sorted(known | load_names | model_names), SYNONYMS)
            raise UsageError(f"train has no option '{name}'.{hint}")
    load = {name: options[name] for name in options if name in load_names}
    chosen = {name: options[name] for name in options if name in model_names}
    rest = {name: value for name, value in options.items() if name in known}
    if load:
        rest["load"] = make_load_options(rest.get("load"), **load)
    return (get_family(model).Config(**chosen) if chosen else model), rest


def option_names(model: Any) -> tuple[set[str], set[str], set[str]]:
    """Return the names of the options of training, of loading images, and of a family's model."""
    own = [name for name in inspect.signature(training.train).parameters if name != "settings"]
    known = {*own, "config", "save_config", "report", *_field_names(TrainingSettings)}
    load_names = {*_field_names(LoadOptions)} - known
    if not isinstance(model, str) or model == "auto":
        return known, load_names, set()
    return known, load_names, {*_field_names(get_family(model).Config)} - known - load_names


def _field_names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


train = cast("Train", _train)


def resume(
    run: runs.Run | str | Path, images: Data | None = None, *, quiet: bool = False, **settings: Any
) -> Run:
    """Continue a run from its last checkpoint and return it.

    `minutes`, `steps` or `epochs` replace the budget, `watch_port` shows the training on a page;
    other settings apply to this session only. Images are loaded again as the run recorded them,
    unless `images` is given. Raises UsageError if the run has spent its budget, or if its images
    have changed.
    """
    return Run(find_run(run)).resume(images, quiet=quiet, **settings)


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
    *,
    quiet: bool = False,
    **changes: Any,
) -> Evaluation:
    """Measure a run, see `Run.evaluate`."""
    return open_run(run).evaluate(data, options, quiet=quiet, **changes)


def report(
    run: runs.Run | str | Path,
    out: str | Path | None = None,
    *,
    umap: bool = False,
    live: bool = False,
) -> Path:
    """Write one HTML file that shows a run, and return its path.

    `umap` adds a map of the latents, `live` a decoder that runs in the page.
    """
    return open_run(run).report(out, umap=umap, live=live)


def export(
    run: runs.Run | str | Path,
    out: str | Path | None = None,
    images: AnyImages | None = None,
    *,
    part: str | None = None,
    opset: int = 18,
    int8: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write a part of a run as an ONNX file for programs without pinxit, and return what it is.

    `part` is by default the most useful one of the family; `out` is a file `.onnx`, a folder for
    all parts, or a file in the run folder. It is written only if onnxruntime computes what the run
    computes, within 1e-4, on 64 of the run's images, or of `images`. `int8` quantizes it.

    Raises UsageError for a part that the run does not have or ONNX cannot express, and for a file
    that exists, unless `overwrite`; PinxitError if the export differs from the run.
    """
    return open_run(run).export(out, images, part=part, opset=opset, int8=int8, overwrite=overwrite)


def push(run: runs.Run | str | Path, name: str, **options: Any) -> PushResult:
    """Publish a run on the Hugging Face Hub as `owner/name`, see `Run.push`."""
    return open_run(run).push(name, **options)


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
    split: SplitOrAll | None = None,
    page: str | Path | None = None,
) -> CompareTable | Chart | Path:
    """Compare the metrics of evaluated runs; with `metric` and `against` plot one of them.

    `metric` is a name in evaluation.json and `against` an option of the runs; probe_by_layer is
    plotted by layer and takes no `against`. `page` is an HTML file to write in place of the table:
    images, likelihood and time of each run, which need no evaluation; its path is returned. Raises
    UsageError for fewer than two runs, and for a run that is not evaluated on the split.
    """
    from pinxit.api.comparison import compare_runs

    return compare_runs([find_run(run) for run in others], metric, against, split, page)


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
    load_options = make_load_options(load, **options)
    if isinstance(data, Images):
        check_no_options(load_options)
        images = data
    else:
        images = read_images(data, load_options)
    console.out("\n".join(description_lines(images)))
    shown = images.evenly_spaced(num_images)
    return Sheet(contact_sheet(shown, cell_texts(shown, language)), describe(images))


def sources() -> None:
    """Print what the source of images may be, with examples."""
    from pinxit.data.sources import list_source_types

    for source in list_source_types():
        console.out(f"{source.pattern}\n    {source.description}")
        console.out(f"    for example {', '.join(source.examples)}")
