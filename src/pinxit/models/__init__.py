"""The model families: every package in this folder is one.

Adding a folder adds a family to the package's names, the command line, the tests and the reports;
deleting it removes the family. What a family provides is in `pinxit.models.protocols`. Importing a
family must not import torch, so that `--help` is fast; `build` may.
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

# options that name a run whose model another one contains: the argument of `prepare` that is its
# model, and the ability that it needs
COMPONENTS = {
    "image_tokenizer": ("tokenizer", "tokenize"),
    "vae": ("vae", "elbo"),
    "perceptual_features": ("features", "embed"),
}
FILE_COMPONENTS = ("perceptual_features",)  # of these, options that may name a file instead


def list_families() -> tuple[str, ...]:
    """Return the names of all families in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg))


def get_family(name: str) -> ModuleType:
    """Import a family's package by its name. Raises UsageError for an unknown name."""
    if name not in list_families():
        known = ", ".join(list_families())
        raise UsageError(
            f"no family '{name}'. Families: {known}.{did_you_mean(name, list_families())}"
        )
    return importlib.import_module(f"{__name__}.{name}")


def nearest_family(kind: str) -> str | None:
    """Return the family that is nearest to another kind of models, such as `gan`, or None."""
    normalized = kind.lower().replace("_", "-")
    kinds = {name: getattr(get_family(name), "NEAR_KINDS", ()) for name in list_families()}
    return next((name for name in kinds if normalized in kinds[name]), None)


def configs_by_public_name() -> dict[str, type]:
    """Return the `Config` of each family by its `PUBLIC_NAME`: `pinxit.VAE` and the like."""
    families = [get_family(name) for name in list_families()]
    return {family.PUBLIC_NAME: family.Config for family in families}


def family_of(config: object) -> str:
    """Return the name of the family that a `Config` belongs to."""
    return type(config).__module__.removeprefix(f"{__name__}.").split(".")[0]


def component_of(config: Any) -> str | None:
    """Return the option that names a run whose model the configuration's model contains."""
    return next((name for name in COMPONENTS if getattr(config, name, None) is not None), None)


def build_model(
    config: Any, images: Images, rows: np.ndarray, seed: int = 0, component: Any = None
) -> tuple[Any, dict[str, Any]]:
    """Build a model for training images, with initial weights from the seed.

    Returns the model, and the tensors that its family fitted to the images: a palette or a text
    tokenizer, for example. The model holds them already; a run folder saves them, so that the model
    can be built without the images. `component` is the trained model of the run that the
    configuration names, see `COMPONENTS`. Raises UsageError if the configuration does not fit the
    images.
    """
    import torch

    from pinxit.models.saved_state import load_fitted
    from pinxit.nn.rng import mix_seed

    module = get_family(family_of(config))
    info = images.info(rows)
    config, fitted = config.resolve(info), {}
    if hasattr(module, "prepare"):
        option = component_of(config)
        named = {} if component is None or option is None else {COMPONENTS[option][0]: component}
        config, fitted = module.prepare(config, info, images, rows, seed, **named)
    torch.manual_seed(mix_seed(seed, -1))
    model = module.build(config, info)
    load_fitted(model, fitted)
    return model, fitted
