"""pinxit: turns a folder of images into a model that paints.

The names below are the same words as the commands. None is imported before it is used, so that
`import pinxit` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinxit.data.images import Images as Images
    from pinxit.data.label_captions import captions_from_labels as captions_from_labels
    from pinxit.data.load import load_images as load_images
    from pinxit.evaluation.runner import evaluate as evaluate
    from pinxit.models.igpt.config import Config as IGPT  # noqa: F401
    from pinxit.models.mae.config import Config as MAE  # noqa: F401
    from pinxit.models.seq2seq.config import Config as Seq2Seq  # noqa: F401
    from pinxit.models.tokenizer.config import Config as ImageTokenizer  # noqa: F401
    from pinxit.models.vae.config import Config as VAE  # noqa: F401
    from pinxit.reports import report as report
    from pinxit.runs import Run as Run
    from pinxit.runs import load as load
    from pinxit.training.api import train as train

_WHERE = {
    "load_images": "pinxit.data.load",
    "captions_from_labels": "pinxit.data.label_captions",
    "Images": "pinxit.data.images",
    "VAE": "pinxit.models.vae:Config",
    "MAE": "pinxit.models.mae:Config",
    "IGPT": "pinxit.models.igpt:Config",
    "Seq2Seq": "pinxit.models.seq2seq:Config",
    "ImageTokenizer": "pinxit.models.tokenizer:Config",
    "train": "pinxit.training",
    "load": "pinxit.runs",
    "Run": "pinxit.runs",
    "evaluate": "pinxit.evaluation.runner",
    "report": "pinxit.reports",
    "PinxitError": "pinxit.errors",
    "UsageError": "pinxit.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pinxit' has no attribute '{name}'")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
