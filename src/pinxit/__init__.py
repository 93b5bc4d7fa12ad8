"""pinxit: train generative models on a folder of images.

Names are imported on first use, so that `import pinxit` is fast. Each model family adds its
configuration under its `PUBLIC_NAME`, for example `pinxit.VAE` (see `pinxit.models`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinxit.data.images import Images as Images
    from pinxit.data.label_captions import captions_from_labels as captions_from_labels
    from pinxit.data.load import load_images as load_images
    from pinxit.errors import PinxitError as PinxitError
    from pinxit.errors import UsageError as UsageError
    from pinxit.evaluation.runner import evaluate as evaluate
    from pinxit.reports import report as report
    from pinxit.reports.explain import explain as explain
    from pinxit.runs import Run as Run
    from pinxit.runs import load as load
    from pinxit.training.api import resume as resume
    from pinxit.training.api import train as train

_MODULES = {
    "load_images": "pinxit.data.load",
    "captions_from_labels": "pinxit.data.label_captions",
    "Images": "pinxit.data.images",
    "train": "pinxit.training.api",
    "resume": "pinxit.training.api",
    "load": "pinxit.runs",
    "Run": "pinxit.runs",
    "evaluate": "pinxit.evaluation.runner",
    "report": "pinxit.reports",
    "explain": "pinxit.reports.explain",
    "PinxitError": "pinxit.errors",
    "UsageError": "pinxit.errors",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name[:1].isupper():  # a lower-case name is a submodule that is being imported
        value = _family_configs().get(name)
    else:
        value = None
    if value is None:
        raise AttributeError(f"module 'pinxit' has no attribute '{name}'")
    globals()[name] = value
    return value


def _family_configs() -> dict[str, Any]:
    from pinxit.models import configs_by_public_name

    return configs_by_public_name()


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_family_configs()})
