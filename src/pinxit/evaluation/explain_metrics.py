"""The numbers of an explanation: every metric with its standard error, and the curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pinxit.evaluation.elbo_surgery import surgery_metrics
from pinxit.evaluation.estimates import Estimate, estimate_mean
from pinxit.evaluation.explain import MIN_DISTANCE_IMAGES, Explainer
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.noise_model import frequency_ratio
from pinxit.evaluation.posterior_cover import distance_to_average
from pinxit.evaluation.power_spectrum import sharpness_metrics

Metrics = dict[str, float | None]
Values = dict[str, Estimate]

MAX_SHARE = 0.1  # of one image in the sum of all that needs no warning


def measure_metrics(explainer: Explainer) -> Metrics:
    """Return all metrics by name, with the error of `x` as `x_error`; None for an unknown error."""
    terms, groups = explainer.terms, explainer.test.groups
    values: Values = {
        "distortion": estimate_mean(terms.distortion, groups),
        **_rate_metrics(explainer),
        **_gap_metrics(explainer),
        **_likelihood_metrics(explainer),
        "distance_to_average": distance_to_average(
            explainer.cover, explainer.region.crop(explainer.query_outputs.pixels)
        ),
    }
    facts: Metrics = {
        "effective_images": float(np.median(explainer.cover.effective_number)),
        "active_units": float(explainer.activity.active.sum()),
        "units": float(len(explainer.activity.active)),
    }
    return flatten(values) | facts | _measure_sharpness(explainer)[0]


def outlier_warnings(explainer: Explainer) -> list[str]:
    """Warn of a single image that outweighs the others in a mean."""
    warnings = []
    means = {"distortion": explainer.terms.distortion}
    means |= {} if explainer.is_point else {"rate": explainer.terms.rate.sum(1)}
    for name, values in means.items():
        row, total = int(np.argmax(values)), float(np.abs(values).sum())
        share = float(values[row]) / max(total, 1e-12)
        if len(values) >= MIN_DISTANCE_IMAGES and share > MAX_SHARE:
            image = explainer.test.names[row] if len(explainer.test.names) else f"no. {row}"
            warnings.append(
                f"the image {image} alone has {share:.0%} of the {name} of all: it is unlike "
                "the training images, and the mean says little of the others"
            )
    return warnings


def measure_curves(explainer: Explainer) -> dict[str, list[Any]]:
    """Return the KL of each latent, and the spectra of errors, reconstructions and samples."""
    curves: dict[str, list[Any]] = {}
    if explainer.activity.rate is not None:
        curves["kl_per_latent"] = explainer.activity.rate.astype(float).tolist()
    total = float(np.square(explainer.errors).mean(dtype=np.float64))
    frequencies, ratio = frequency_ratio(explainer.errors, total)
    curves["error_frequencies"], curves["error_spectrum"] = frequencies.tolist(), ratio.tolist()
    return curves | _measure_sharpness(explainer)[1]


def _measure_sharpness(explainer: Explainer) -> tuple[Metrics, dict[str, list[Any]]]:
    sets = explainer.reference, explainer.reconstructions, explainer.sets["prior"]
    measured = collect(sharpness_metrics(*sets))
    return measured.metrics, measured.curves


def _rate_metrics(explainer: Explainer) -> Values:
    """Rate and ELBO, the parts of the rate under N(0, I), and what fitted priors gain.

    Nothing of a point in place of q(z|x).
    """
    if explainer.is_point:
        return {}
    terms, groups = explainer.terms, explainer.test.groups
    gains = explainer.prior_gains()
    values = {
        "rate": estimate_mean(terms.rate.sum(1), groups),
        "elbo": estimate_mean(terms.elbo, groups),
        **{f"prior_gain_{kind}": gain for kind, gain in gains.items()},
    }
    if gains:
        values["prior_gain"] = gains[explainer.best_density]
    parts = explainer.rate_parts
    if parts is not None:
        return values | {
            "mutual_information": parts.information,
            "total_correlation": parts.total_correlation,
            "dimension_wise_kl": parts.dimension_wise,
            "marginal_kl": parts.marginal_kl,
            "surgery_rate": parts.rate,
        }
    if len(explainer.test) < 2:
        return values
    rate = terms.rate.sum(1)
    surgery = surgery_metrics(explainer.model, explainer.test, rate, explainer.seed)
    return values | {name: v for name, v in surgery if isinstance(v, Estimate)}


def _gap_metrics(explainer: Explainer) -> Values:
    gap = explainer.gap
    if gap is None:
        return {}
    values = {f"frechet_{name}": value for name, value in gap.distances.items()}
    if gap.share is not None:
        values["prior_share"] = gap.share
    return values | {f"closed_by_{name}": value for name, value in gap.closed.items()}


def _likelihood_metrics(explainer: Explainer) -> Values:
    values: Values = {}
    calibration = explainer.measure_calibration()
    if calibration is not None:
        values["calibration"] = calibration
    noise = explainer.noise_model
    if noise is None:
        return values
    return values | {
        "distortion_sigma_one": noise.fixed,
        "distortion_own_sigma": noise.own,
        "distortion_best_sigma": noise.best,
        "distortion_per_pixel": noise.per_pixel,
        "distortion_per_frequency": noise.per_frequency,
        "wrong_sigma": noise.wrong_sigma,
        "one_sigma": noise.one_sigma,
        "white_noise": noise.white,
    }


def flatten(values: Mapping[str, Estimate]) -> Metrics:
    """Return values and errors by name; None for an error that is unknown."""
    metrics: Metrics = {}
    for name, estimate in values.items():
        metrics[name] = estimate.value
        metrics[f"{name}_error"] = estimate.error if np.isfinite(estimate.error) else None
    return metrics
