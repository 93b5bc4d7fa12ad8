"""Which options an evaluation uses of a model: what has no effect is refused, or a warning.

Each method of a model that an evaluation calls gets the generation options that it takes. An option
that none of them takes is an error, as it is of `sample`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.errors import UnusedOptionError, UsageError
from pinxit.evaluation.likelihood_stages import choose_iw_samples
from pinxit.evaluation.options import EvalOptions
from pinxit.models.generation import SEEDED, GenerationParams, resolve_params
from pinxit.models.protocols import (
    CanCaption,
    CanComplete,
    CanDraw,
    CanEdit,
    CanEmbed,
    CanReconstruct,
    CanSample,
    CanScore,
    HasELBO,
    HasText,
)
from pinxit.runs import run_of
from pinxit.sampling.inputs import is_label_conditional

Generation = dict[str, Any]  # options of generation, without the seed
Check = Callable[[Generation], Any]  # raises what the method raises for these options

DEFAULTS = EvalOptions()
PAIRS = "pairs of an image and its edit"


def check_options(model: Any, options: EvalOptions) -> None:
    """Raise UsageError for an option that has no effect on what is measured of a model."""
    has_elbo, generates = isinstance(model, HasELBO), isinstance(model, CanSample | CanDraw)
    iw_samples = choose_iw_samples(model, options.iw_samples) if has_elbo else 0
    for name, needs, is_met in (
        ("defensive_share", "a model with an ELBO", has_elbo),
        ("defensive_share", "iw_samples: no importance samples are drawn here", iw_samples > 0),
        ("average_labels", "a model that is conditioned on labels", is_label_conditional(model)),
        ("average_labels", "a model with a likelihood", has_elbo or isinstance(model, CanScore)),
        (
            "average_labels",
            "iw_samples: no importance samples are drawn here",
            not has_elbo or iw_samples > 0,
        ),
        ("fid", "a model that generates images", generates),
        (
            "feature_run",
            "a model that generates or reconstructs images",
            generates or isinstance(model, CanReconstruct),
        ),
    ):
        if getattr(options, name) != getattr(DEFAULTS, name) and not is_met:
            raise UsageError(f"{name} needs {needs}.")
    divide_options(model, options)


def list_unused_amounts(model: Any, options: EvalOptions) -> Iterator[str]:
    """Yield a warning for each option of how much is measured, where nothing of it is."""
    has_elbo = isinstance(model, HasELBO)
    estimates = has_elbo and choose_iw_samples(model, options.iw_samples) > 0
    scores = estimates or (isinstance(model, CanScore) and not has_elbo)
    shown = isinstance(model, CanSample | CanDraw | CanReconstruct | HasText)
    for name, what, is_used in (
        ("iw_samples", "this model has no ELBO", has_elbo),
        (
            "likelihood_images",
            "no likelihood is estimated",
            scores or isinstance(model, HasText),
        ),
        ("max_images", "this model generates and reconstructs no images", shown),
        ("probe_train_size", "this model has no features", isinstance(model, CanEmbed)),
    ):
        value = getattr(options, name)
        if value and value != getattr(DEFAULTS, name) and not is_used:
            yield f"{name} has no effect: {what}"


def divide_options(
    model: Any, options: EvalOptions, *, edits: bool = True
) -> dict[str, Generation]:
    """Return the generation options of each method that an evaluation calls.

    Without the seed, but of captions that are sampled. `edits`: images are edited, if the model
    can. Raises UsageError for an option that no method takes, and for options that one of them does
    not take together.
    """
    given = options.generation.overrides()
    given.pop("seed", None)
    _check_start(given)
    checks = dict(_list_methods(model, options.prior, edits=edits))
    if not given:
        return {name: {} for name in checks}
    divided, known = {}, dict[str, None]()
    for name, check in checks.items():
        divided[name], names = _select(check, given)
        known |= dict.fromkeys(names)
    # of a model that draws, samples are drawn: its `sample` is of little weight
    counted = [part for name, part in divided.items() if name != "sample" or "draw" not in divided]
    unused = [name for name in given if not any(name in part for part in counted)]
    if unused == ["strength"] and isinstance(model, CanEdit) and not edits:
        raise UsageError(f"strength needs {PAIRS}: no image is edited here.")
    if unused and not known:
        raise UsageError(f"{unused[0]} needs a model that generates images or captions.")
    if unused:
        raise UnusedOptionError(unused, [name for name in known if name not in unused])
    if "temperature" in divided.get("caption", {}):
        divided["caption"]["seed"] = options.seed
    return divided


def describe_generation(
    params: GenerationParams, divided: Mapping[str, Generation]
) -> dict[str, Any]:
    """Return the part of the protocol that says how images are generated.

    Always of images from text, else where options are given.
    """
    if not {"draw", "edit"} & divided.keys() and not any(divided.values()):
        return {}
    reranker = run_of(params.reranker)
    given = {**params.overrides(), "seed": params.seed}
    return {"generation": {**given, "reranker": None if reranker is None else str(reranker.path)}}


def _select(check: Check, given: Mapping[str, Any]) -> tuple[Generation, tuple[str, ...]]:
    """Return the options that a method takes, and the names that it knows."""
    own, known = dict(given), tuple(given)
    while own:
        try:
            check(own)
            break
        except UnusedOptionError as error:
            own = {name: value for name, value in own.items() if name not in error.unused}
            known = error.used
    return own, known


def _list_methods(model: Any, prior: str, *, edits: bool) -> Iterator[tuple[str, Check]]:
    """Yield the methods that generate something, and what checks options without generating."""
    if isinstance(model, CanSample):
        fitted = prior != "own"
        yield "sample", _check_seeded if fitted else partial(_check_sampling, model)
    if isinstance(model, CanDraw):
        yield "draw", partial(_check_text_to_image, model, "draw_options")
    if isinstance(model, CanEdit) and edits:
        yield "edit", partial(_check_text_to_image, model, "edit_options")
    if isinstance(model, CanComplete):
        yield "complete", partial(_check_completion, model)
    if isinstance(model, CanCaption):
        yield "caption", partial(_check_captioning, model)


def _check_seeded(given: Generation) -> None:
    resolve_params(None, given, SEEDED)


def _check_sampling(model: Any, given: Generation) -> None:
    getattr(model, "sample_stream", model.sample)(1, **given)  # a stream generates nothing yet


def _check_text_to_image(model: Any, options: str, given: Generation) -> None:
    temperature = model.edit_temperature if options == "edit_options" else 1.0
    used = getattr(model, options)
    resolved = resolve_params(None, given, used, temperature, guidance=model.default_guidance)
    _check_start({**given, "temperature": resolved.temperature})


def _check_completion(model: Any, given: Generation) -> None:
    image = _blank_image(model)
    mask = np.ones(image.pixels.shape[:3], bool)
    getattr(model, "complete_stream", model.complete)(image, mask, **given)


def _check_start(given: Generation) -> None:
    if "start" in given and given.get("temperature") == 0:
        raise UsageError("start needs a temperature above 0: at 0 nothing is sampled.")


def _check_captioning(model: Any, given: Generation) -> None:
    if "start" in given and "temperature" not in given:
        raise UsageError("start needs temperature: beam search does not sample.")
    model.caption(_blank_image(model), **given)


def _blank_image(model: Any) -> Images:
    info = model.info
    return Images(np.zeros((1, info.height, info.width, info.channels), np.uint8))
