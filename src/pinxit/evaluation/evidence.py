"""What a run measured that speaks for a remedy: a sentence each, and whether it is a cause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pinxit.console import format_estimate, format_number
from pinxit.evaluation.causes import Metrics, has_prior_hole

MIN_BOUND_GAP = 1.0  # nats per image between the ELBO and log p(x) that a tighter bound may win
NUM_ERRORS = 2.0  # standard errors that a finding must exceed
MIN_MARGINAL_KL = 0.05  # of the rate: a prior further from the z of the images has holes
MIN_SHARPNESS_GAP = 0.1  # between samples and reconstructions: a sign of a prior hole
SIGMAS = {
    "learned": "σ is learned by gradient steps",
    "analytic": "σ² is the mean squared error of each step",
    "per-pixel": "each pixel has its own σ",
}  # by the option `variance`


def describe_variance(options: Mapping[str, Any], metrics: Metrics) -> str:
    """Return how sigma is set, and how far it is from the errors."""
    sigma = options.get("sigma")
    text = SIGMAS.get(options.get("variance", "learned"), "")
    if sigma is not None:
        text = f"σ is fixed at {sigma:g}"
    ratio = metrics.get("calibration")
    if ratio is None:
        return text
    ratio_text = format_estimate(ratio, metrics.get("calibration_error"))
    return f"{text}; the squared error is {ratio_text} times the stated variance"


def assess_prior(metrics: Metrics) -> tuple[str, bool]:
    """Return what shows how far the prior is from the latents, and whether that is a cause.

    By the best measurement that there is: the prior's part of the gap of the samples, the KL of
    the aggregate posterior, the sharpness of samples beside reconstructions.
    """
    share, marginal_kl, rate = (
        metrics.get(name) for name in ("prior_share", "marginal_kl", "rate")
    )
    if share is not None:
        error = metrics.get("prior_share_error")
        percent = format_estimate(100 * share, None if error is None else 100 * error, 2)
        text = f"{percent} % of the distance of samples to images is the prior's"
        return text, has_prior_hole(metrics)
    if marginal_kl is not None and rate is not None:
        part, whole = format_number(marginal_kl, 2), format_number(rate, 2)
        text = f"KL(q(z) || p(z)) is {part} of {whole} nats of the rate"
        return text, marginal_kl > MIN_MARGINAL_KL * rate
    samples, decoded = (metrics.get(f"sharpness_{name}") for name in ("samples", "reconstructions"))
    if samples is None or decoded is None:
        return "", False
    text = (
        f"samples have {format_number(samples, 2)} of the data's high-frequency power, "
        f"reconstructions {format_number(decoded, 2)}"
    )
    return text, abs(samples - decoded) > MIN_SHARPNESS_GAP


def describe_loss(metrics: Metrics, name: str, what: str) -> str:
    """Return what a loss in nats per image was measured as; "" if it was not."""
    value = metrics.get(name)
    if value is None:
        return ""
    return f"{format_estimate(value, metrics.get(f'{name}_error'))} nats per image {what}"


def describe_activity(options: Mapping[str, Any], metrics: Metrics) -> str:
    """Return how many latents are active units; "" if that is not known."""
    active, units = metrics.get("active_units"), metrics.get("units")
    if active is None or not units:
        return ""
    name = "channels" if options.get("latents") in ("grid", "ladder") else "latents"
    return f"{round(active)} of {round(units)} {name} are active units"


def measure_bound_gap(metrics: Mapping[str, Any]) -> float | None:
    """Return log p(x) less the ELBO of the same images, if it is well above 0, in nats.

    That of `evaluate`; of an evaluation from before it measured that, their means over the images
    that each was measured on.
    """
    gap, error = metrics.get("bound_gap"), metrics.get("bound_gap_error") or 0.0
    if gap is None:
        values = [metrics.get(name) for name in ("log_likelihood", "elbo")]
        if None in values:
            return None
        gap = float(values[0]) - float(values[1])  # type: ignore[arg-type]
        error = math.hypot(
            *(metrics.get(f"{name}_error") or 0.0 for name in ("log_likelihood", "elbo"))
        )
    return gap if gap > max(MIN_BOUND_GAP, NUM_ERRORS * error) else None


def exceeds_error(metrics: Metrics, name: str, least: float) -> bool:
    """Whether a loss in nats per image is well above 0."""
    value, error = metrics.get(name), metrics.get(f"{name}_error")
    return value is not None and value > max(least, NUM_ERRORS * (error or 0.0))
