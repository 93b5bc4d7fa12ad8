"""pinxit: train generative models on a folder of images.

    images = pinxit.load_images("photos/", size=64)
    run = pinxit.train(pinxit.VAE(latent_dim=64), images, minutes=5)
    run.sample(16, seed=0)

Train and load:

    load_images(source, ...)        the images of a folder, a file or a known data set
    captions_from_labels(images)    captions made from labels
    look(source)                    what is in a data set, as a contact sheet
    shard(source, folder)           write a data set as WebDataset shards
    sources()                       what a source may be
    train(config, images, ...)      train a model: returns a `Run`
    resume(run, ...)                go on with the training of a run
    load(run)                       the model of a run: `sample`, `encode`, `decode`, ... on arrays

Use and measure: a `Run`, also `Run("runs/photos-vae")`, has the commands of the command line as
methods, `run.sample(16)`, `run.reconstruct()`, `run.evaluate()`, and shows itself in a notebook.

    list_runs(folder)               the runs in a folder, as a table
    evaluate(run), report(run)      measure a run; write the HTML file that shows it
    export(run, path)               write a run as an ONNX file, for programs without pinxit
    explain(run)                    why the samples of a VAE are blurry, and what would help
    compare(run, run, ...)          the metrics of several runs side by side

Configurations of models, one of each family: VAE, Flow, MAE, IGPT, Seq2Seq, ImageTokenizer.
Values: Images, Run. Errors: PinxitError, UsageError.

Names are imported on first use, so that `import pinxit` is fast. Each model family adds its
configuration under its `PUBLIC_NAME` (see `pinxit.models`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinxit.api.functions import compare as compare
    from pinxit.api.functions import evaluate as evaluate
    from pinxit.api.functions import export as export
    from pinxit.api.functions import load as load
    from pinxit.api.functions import look as look
    from pinxit.api.functions import report as report
    from pinxit.api.functions import resume as resume
    from pinxit.api.functions import sources as sources
    from pinxit.api.functions import train as train
    from pinxit.api.run import Run as Run
    from pinxit.data.images import Images as Images
    from pinxit.data.label_captions import captions_from_labels as captions_from_labels
    from pinxit.data.load import load_images as load_images
    from pinxit.data.shards.write import shard as shard
    from pinxit.errors import PinxitError as PinxitError
    from pinxit.errors import UsageError as UsageError
    from pinxit.reports.explain import explain as explain
    from pinxit.reports.run_list import list_runs as list_runs

_MODULES = {
    "load_images": "pinxit.data.load",
    "captions_from_labels": "pinxit.data.label_captions",
    "look": "pinxit.api.functions",
    "shard": "pinxit.data.shards.write",
    "sources": "pinxit.api.functions",
    "train": "pinxit.api.functions",
    "resume": "pinxit.api.functions",
    "load": "pinxit.api.functions",
    "evaluate": "pinxit.api.functions",
    "report": "pinxit.api.functions",
    "export": "pinxit.api.functions",
    "compare": "pinxit.api.functions",
    "list_runs": "pinxit.reports.run_list",
    "Run": "pinxit.api.run",
    "Images": "pinxit.data.images",
    "explain": "pinxit.reports.explain",
    "PinxitError": "pinxit.errors",
    "UsageError": "pinxit.errors",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name[:1].isupper():  # a lower-case name is a submodule that is being imported
        value = _family_configs().get(name)
    else:
        value = None
    if value is None:
        raise AttributeError(f"module 'pinxit' has no attribute '{name}'.{_suggest(name)}")
    globals()[name] = value
    return value


def _suggest(name: str) -> str:
    """Return the near name, if there is one; none for the names that Python looks up itself."""
    if name.startswith("_"):
        return ""
    from pinxit.errors import did_you_mean

    hint = did_you_mean(name, __dir__())
    return hint or " See: help(pinxit)"


def _family_configs() -> dict[str, Any]:
    from pinxit.models import configs_by_public_name

    return configs_by_public_name()


def __dir__() -> list[str]:
    return sorted({*_MODULES, *_family_configs()})
