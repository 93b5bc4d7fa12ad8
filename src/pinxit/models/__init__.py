"""The model families: every package in this folder is one.

Found by its name and nothing else: adding a file adds a family to the command line, the tests
and the reports; deleting it removes it. Importing a family must not import torch, so that its
options can be listed in no time; `build` may.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pinxit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from pinxit.data.images import Images


def list_families() -> tuple[str, ...]:
    """The names of all families, in the order of the alphabet."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg))


def get_family(name: str) -> ModuleType:
    """The module of a family: its `Config`, its `build(config, info)` and its paper.

    Raises UsageError for a name that no family has.
    """
    if name not in list_families():
        known = ", ".join(list_families())
        raise UsageError(
            f"no family '{name}'; there are: {known}.{did_you_mean(name, list_families())}"
        )
    return importlib.import_module(f"{__name__}.{name}")


def family_of(config: Any) -> str:
    """The name of the family that a `Config` belongs to."""
    return type(config).__module__.removeprefix(f"{__name__}.").split(".")[0]


def build_model(
    config: Any, images: Images, rows: np.ndarray, seed: int = 0, tokenizer: Any = None
) -> tuple[Any, dict[str, Any]]:
    """Build a model for training images, with initial weights from the seed.

    Returns the model and the tensors that its family fitted to the images (a palette, a text
    tokenizer; none for most families). They are in the model already; a run folder keeps them, so
    that the model can be built without the images. `tokenizer` is the image tokenizer that the
    configuration names, loaded. Raises UsageError if the configuration does not fit the images.
    """
    import torch

    from pinxit.models.saved_state import load_fitted
    from pinxit.nn.rng import mix_seed

    module = get_family(family_of(config))
    info = images.info(rows)
    config, fitted = config.resolve(info), {}
    if hasattr(module, "prepare"):
        named = {} if tokenizer is None else {"tokenizer": tokenizer}
        config, fitted = module.prepare(config, info, images, rows, seed, **named)
    torch.manual_seed(mix_seed(seed, -1))
    model = module.build(config, info)
    load_fitted(model, fitted)
    return model, fitted
