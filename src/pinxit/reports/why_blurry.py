"""Why is it blurry? Shown on the run itself, for models that maximise an evidence lower bound.

An image's squared error splits in two (f is the decoder's mean, z of the posterior):

    E |x - f(z)|^2 = |x - E f(z)|^2 + E |f(z) - E f(z)|^2

The first is what the code does not hold, the second what the posterior leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pinxit.data.images import evenly_spaced_indices
from pinxit.reports.context import NUMBERS, Material
from pinxit.reports.formatting import number
from pinxit.reports.images import CRISP, Image, as_rgba, error_map, of_array, shrunk, wall
from pinxit.reports.remedies import remedies
from pinxit.reports.sections import LONGEST, Section
from pinxit.sampling.inputs import labels_for

DRAWS = 24  # posterior samples of the image that is shown
SHOWN = 6
NEIGHBOURS = 6


@dataclass(frozen=True)
class Split:
    """Root of the mean squared error in grey levels, in its two parts."""

    total: float
    lost: float  # original against the mean of its decodings
    open: float  # decodings against their own mean


def blurry(material: Material) -> Section | None:
    """One image's posterior samples, its neighbours' average, sigma, the spectrum, remedies."""
    seen, posterior = material.seen, material.posterior
    if seen is None or posterior is None or not material.can("elbo") or len(seen) < 2:
        return None
    row = _one_to_show(material)
    values: dict[str, Any] = {
        "drawn": _drawn(material, row),
        "around": _around(material, row),
        "split": _split(material),
        "split_name": material.split,
        "sigma": _sigma(material),
        "ink": getattr(material.model.config, "likelihood", "") == "bernoulli",
        "detail": material.detail,
        "terms": _terms(material),
        "remedies": remedies(material),
    }
    return Section("blurry", "Why is it blurry?", values)


def _terms(material: Material) -> tuple[float, float]:
    """Distortion and rate, nats an image."""
    assert material.elbo_terms is not None
    return float(material.elbo_terms.distortion.mean()), float(
        material.elbo_terms.rate.sum(1).mean()
    )


def _one_to_show(material: Material) -> int:
    """An image with more error than most, so that what is lost can be seen; never the worst."""
    assert material.errors is not None
    return int(np.argsort(material.errors)[int(0.8 * (len(material.errors) - 1))])


def _decodings(material: Material, rows: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """f(z) at `draws` samples of q(z given x) of each image: uint8 `[rows, draws, h, w, c]`."""
    assert material.seen is not None and material.posterior is not None
    mean, std = (part[rows][:, None] for part in material.posterior)
    noise = np.random.default_rng(seed).standard_normal((len(rows), draws, mean.shape[-1]))
    z = (mean + std * noise).astype(np.float32).reshape(len(rows) * draws, -1)
    labels = labels_for(material.model, material.seen[rows])
    pixels = material.model.decode(z, None if labels is None else labels.repeat(draws)).pixels
    return pixels.reshape(len(rows), draws, *pixels.shape[1:])


def _drawn(material: Material, row: int) -> dict[str, Any]:
    """Original, decoder's mean, several posterior samples, their average, where they differ."""
    assert material.seen is not None and material.reconstructions is not None
    made = _decodings(material, np.array([row]), DRAWS, seed=0)[0]
    average = made.astype(np.float32).mean(0)
    spread = made.astype(np.float32).std(0)
    full = max(float(spread.max()), 1.0)
    flat = np.zeros_like(spread)
    parts = [
        ("the original", _one(material.seen.pixels[row], "The original")),
        ("the code’s mean", _one(material.reconstructions.pixels[row], "Decoded from the mean")),
    ]
    for i in range(SHOWN):
        alt = f"Decoded from posterior sample {i + 1}"
        parts.append((f"sample {i + 1}", _one(made[i], alt)))
    rounded = average.round().astype(np.uint8)
    parts.append((f"mean of {DRAWS} samples", _one(rounded, f"Average of {DRAWS} decodings")))
    differ = shrunk(error_map(spread, flat, full)[None], LONGEST)[0]
    crisp = max(material.seen.pixels.shape[1:3]) <= CRISP
    parts.append(("where they differ", of_array(differ, "Where the samples differ", crisp)))
    return {"parts": parts, "full": number(full, 2)}


def _one(pixels: np.ndarray, alt: str) -> Image:
    crisp = max(pixels.shape[:2]) <= CRISP
    return of_array(as_rgba(shrunk(pixels[None], LONGEST)[0]), alt, crisp)


def _around(material: Material, row: int) -> dict[str, Any] | None:
    """The images with the nearest codes, their plain average, and the decoder's answer."""
    seen, posterior = material.seen, material.posterior
    assert seen is not None and posterior is not None and material.reconstructions is not None
    if len(seen) < 4 * NEIGHBOURS:
        return None
    apart = np.square(posterior.mean - posterior.mean[row]).sum(1)
    near = np.argsort(apart)[: NEIGHBOURS + 1]
    near = np.concatenate([[row], near[near != row]])[: NEIGHBOURS + 1]
    average = seen.pixels[near].astype(np.float32).mean(0).round().astype(np.uint8)
    others = wall(
        shrunk(seen.pixels[near], LONGEST),
        NEIGHBOURS + 1,
        f"An image and the {NEIGHBOURS} whose codes are nearest to its own",
    )
    return {
        "others": others,
        "average": _one(average, f"The average of these {NEIGHBOURS + 1} images"),
        "decoded": _one(material.reconstructions.pixels[row], "What the decoder makes of its code"),
        "count": NEIGHBOURS + 1,
    }


def _split(material: Material, draws: int = 16) -> Split:
    """The split of the squared error above, over as many images as take a moment."""
    assert material.seen is not None
    most = int(np.clip(NUMBERS // draws // material.run.info.dims, 8, 48))
    rows = evenly_spaced_indices(len(material.seen), most)
    lost, left_open = [], []
    for row, some in zip(rows, _decodings(material, rows, draws, seed=1), strict=True):
        made = some.astype(np.float32)
        average = made.mean(0)
        variance = float(made.var(0, ddof=1).mean())
        # the average of a few draws has a variance of its own, which is not what was lost
        error = np.mean((material.seen.pixels[row] - average) ** 2) - variance / draws
        lost.append(max(float(error), 0.0))
        left_open.append(variance)
    parts = float(np.mean(lost)), float(np.mean(left_open))
    return Split(float(np.sqrt(sum(parts))), float(np.sqrt(parts[0])), float(np.sqrt(parts[1])))


def _sigma(material: Material) -> dict[str, Any] | None:
    """A gaussian decoder's standard deviation, in grey levels."""
    sigma = getattr(getattr(material.model, "likelihood", None), "sigma", None)
    if sigma is None:
        return None
    size = float(sigma.detach() if hasattr(sigma, "detach") else sigma)
    return {
        "value": number(size, 3),
        "levels": number(255 * size, 2),
        "learned": getattr(material.model.config, "sigma", None) is None,
    }
