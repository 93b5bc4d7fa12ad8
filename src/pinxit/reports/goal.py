"""Images from nothing or from a caption: what a run generates, how likely it finds images, at what
price. Rows of one table over all families, for the lecture and for `pinxit compare --page`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pinxit.console import format_duration
from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.evaluation.estimates import estimate_mean
from pinxit.models import get_family
from pinxit.models.inputs import captions_within_limit
from pinxit.models.protocols import CanDraw, CanSample, CanScore, HasELBO
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_count, format_estimate, format_seconds
from pinxit.reports.images import inline_grid
from pinxit.reports.sections import MAX_THUMBNAIL_SIDE, shrink_images
from pinxit.sampling.inputs import is_label_conditional

NUM_SHOWN, COLUMNS = 8, 4  # images of a kind, in a grid
MAX_SECONDS = 3.0  # of generating them; a slow model generates fewer
NUM_SCORED = 48  # images for the likelihood of a run that is not evaluated
LIKELIHOODS = ("log_likelihood", "elbo")  # names in evaluation.json, the tighter one first


@dataclass(frozen=True)
class Generated:
    """Images of one kind, and the seconds that each took when they were made together."""

    images: Images
    seconds: float
    given: str  # the caption or the label, "" for nothing


@dataclass(frozen=True)
class Likelihood:
    """How likely held-out images are: bits per dimension, or nats per image."""

    value: float
    error: float | None
    unit: str
    kind: str  # exact, a lower bound, an estimate by importance sampling
    measured_on: str
    variables: str  # of which p is the density: values of one description compare

    @property
    def text(self) -> str:
        return " ".join(format_estimate(self.value, self.error)).strip()


@dataclass(frozen=True)
class GoalRow:
    """What one run can do; None for what it cannot."""

    name: str
    family: str
    data: str  # of which data and size; likelihoods of one value of it compare
    from_nothing: Generated | None
    from_words: Generated | None
    likelihood: Likelihood | None
    training_seconds: float | None
    num_parameters: int

    def show(self) -> dict[str, Any]:
        """Return the values of the table's templates."""
        return {
            "name": self.name,
            "family": self.family,
            "data": self.data,
            "nothing": _show_generated(self.from_nothing, "Images from nothing"),
            "words": _show_generated(self.from_words, "Images from words"),
            "likelihood": self.likelihood,
            "training": format_duration(self.training_seconds) if self.training_seconds else "",
            "parameters": format_count(self.num_parameters),
        }


def measure_goal(context: ReportContext) -> GoalRow:
    """Generate images with a run and time it; read its likelihood, or measure it on some images.

    Takes seconds. The time is of this machine, with what else runs on it.
    """
    run, model, info = context.run, context.model, context.run.info
    trained = run.config.get("trained") or {}
    return GoalRow(
        run.name,
        get_family(run.family).PUBLIC_NAME,
        f"{run.data_name}, {info.width} × {info.height}",
        _sample(model) if isinstance(model, CanSample) else None,
        _generate_from_words(context),
        _read_likelihood(context) or _measure_likelihood(context),
        trained.get("seconds"),
        0 if model is None else sum(p.numel() for p in model.parameters()),
    )


# -- images ----------------------------------------------------------------------------------------


def _sample(model: CanSample) -> Generated:
    return _time(lambda n: model.sample(n, seed=0), "")


def _generate_from_words(context: ReportContext) -> Generated | None:
    """Draw a caption of the data, or sample with a label where a model reads labels only."""
    model = context.model
    if isinstance(model, CanDraw) and context.subset is not None:
        rows, texts = captions_within_limit(model, context.subset)
        if len(rows):
            text = texts[len(texts) // 2]
            return _time(lambda n: model.draw([text] * n, seed=0), text)
    if isinstance(model, CanSample) and is_label_conditional(model):
        label = context.run.info.label_names[0]
        return _time(lambda n: model.sample(n, seed=0, label=label), label)
    return None


def _time(generate: Callable[[int], Images], given: str) -> Generated:
    """Generate one image, which says how many are affordable, then these together."""
    start = time.perf_counter()
    generate(1)
    first = time.perf_counter() - start
    count = int(np.clip(MAX_SECONDS / max(first, 1e-6), 1, NUM_SHOWN))
    start = time.perf_counter()
    images = generate(count)
    return Generated(images, (time.perf_counter() - start) / count, given)


def _show_generated(generated: Generated | None, alt: str) -> dict[str, Any] | None:
    if generated is None:
        return None
    images, columns = generated.images, min(COLUMNS, len(generated.images))
    pixels = shrink_images(images, MAX_THUMBNAIL_SIDE)
    return {
        "image": inline_grid(pixels, columns, alt),
        "share": f"{columns / COLUMNS:.0%}",  # of the width of the column
        "seconds": format_seconds(generated.seconds),
        "count": len(generated.images),
        "given": generated.given,
    }


# -- likelihood ------------------------------------------------------------------------------------


def _read_likelihood(context: ReportContext) -> Likelihood | None:
    """Return the tightest likelihood of evaluation.json, in bits per dimension if it has them."""
    metrics = context.metrics
    split = (context.evaluation.get("protocol") or {}).get("split", "test")
    for name in LIKELIHOODS:
        for suffix, unit in (("_bits_per_dim", "bits per dimension"), ("", "nats per image")):
            for given in ("", ":label"):
                key = f"{name}{suffix}{given}"
                if metrics.get(key) is None:
                    continue
                sign = 1 if suffix else -1  # shown as -log p: less is better in both units
                kind = _describe_kind(context.model, name) + (", given the label" if given else "")
                error = metrics.get(f"{key}_error")
                where, variables = f"evaluated on the {split} split", _variables(context.model)
                return Likelihood(sign * metrics[key], error, unit, kind, where, variables)
    return None


def _describe_kind(model: Any, name: str) -> str:
    """Say what a negative log-likelihood is: `evaluate` samples those of models with an ELBO."""
    if isinstance(model, CanScore) and model.likelihood_is_exact:
        return "exact"
    is_sampled = name == "log_likelihood" and isinstance(model, HasELBO)
    return "estimate by importance sampling" if is_sampled else "upper bound"


def _measure_likelihood(context: ReportContext) -> Likelihood | None:
    """Return the likelihood of some images, of a run that is not evaluated."""
    model, images = context.model, context.subset
    if not isinstance(model, CanScore) or images is None:
        return None
    images = images.evenly_spaced(min(NUM_SCORED, model.max_scored_images or NUM_SCORED))
    try:
        scores = model.score(images)
    except PinxitError:  # a masked model has the method, but no likelihood
        return None
    nats = estimate_mean(-scores, images.groups)
    dims = context.run.info.dims * math.log(2)
    scale, unit = (dims, "bits per dimension") if model.eight_bit else (1.0, "nats per image")
    kind = _describe_kind(model, "elbo")
    kind += ", given the label" if is_label_conditional(model) else ""
    error = nats.error / scale if math.isfinite(nats.error) else None
    where, variables = f"measured here on {len(images)} images", _variables(model)
    return Likelihood(nats.value / scale, error, unit, kind, where, variables)


def _variables(model: Any) -> str:
    return model.likelihood_description if isinstance(model, CanScore | HasELBO) else ""
