"""Remedies against blurry reconstructions and samples, given the measurements on the run.

A remedy is listed only if the family has the option that it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pinxit.evaluation.undertraining import MIN_EPOCHS, get_training_length
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number

Options = dict[str, Any]

MIN_RELATIVE_FALL = 0.02


@dataclass(frozen=True)
class Remedy:
    """An option to change, what this run measured, and the effect to expect."""

    option: str
    evidence: str
    effect: str
    promising: bool = True  # the evidence suggests that it helps this run


def find_remedies(context: ReportContext) -> list[Remedy]:
    """Return the remedies that apply to the run, the promising ones first."""
    options = context.model_options
    rules = (
        _suggest_longer_training,
        _suggest_more_latents,
        _suggest_smaller_beta,
        _suggest_other_likelihood,
        _suggest_flow_prior,
    )
    remedies = [remedy for rule in rules if (remedy := rule(context, options)) is not None]
    return sorted(remedies, key=lambda remedy: not remedy.promising)


def _suggest_longer_training(context: ReportContext, options: Options) -> Remedy | None:
    rows = context.run.metrics()
    column = "val_loss" if any("val_loss" in row for row in rows) else "loss"
    losses = [row[column] for row in rows if column in row]
    length = get_training_length(context.run)
    is_early = length is not None and length.epochs < MIN_EPOCHS
    fall = compute_last_fall(losses)
    if fall is None and not is_early:
        return None
    if column == "val_loss" and not is_early and (remedy := _detect_overfitting(losses)):
        return remedy
    evidence = [f"trained for {length}"] if is_early else []
    if fall is not None:
        kind = "validation loss" if column == "val_loss" else "training loss"
        amount = format_number(fall, 2)
        evidence.append(f"the {kind} fell by {amount} nats per image in the last quarter")
    promising = is_early or (fall is not None and _is_significant(fall, losses))
    effect = "fine details are learned last"
    return Remedy("higher `--minutes`", "; ".join(evidence), effect, promising)


def compute_last_fall(losses: Sequence[float]) -> float | None:
    """Return how far the loss fell in the last quarter of training; None for too few values."""
    if len(losses) < 4:
        return None
    third_quarter = losses[len(losses) // 2 : 3 * len(losses) // 4]
    return max(float(np.mean(third_quarter)) - losses[-1], 0.0)


def _is_significant(fall: float, losses: Sequence[float]) -> bool:
    """Whether the fall matters beside that of the last three quarters.

    The size of the loss itself is no measure: its zero depends on the unit of the pixels.
    """
    return fall > MIN_RELATIVE_FALL * max(losses[len(losses) // 4] - losses[-1], 0.0)


def _detect_overfitting(losses: list[float]) -> Remedy | None:
    """Return whether the validation loss has risen since long before the end of training."""
    best = int(np.argmin(losses))
    if best >= 0.7 * len(losses) or losses[-1] <= losses[best] * 1.01:
        return None
    percent = format_number(100 * (best + 1) / len(losses), 2)
    return Remedy(
        "more images, or a smaller `--width`",
        f"the validation loss was lowest after {percent} % of training",
        "the model overfits; training longer does not help",
    )


def _suggest_more_latents(context: ReportContext, options: Options) -> Remedy | None:
    if "latent_dim" not in options or context.activity is None:
        return None
    active, count = int(context.activity.active.sum()), len(context.activity.active)
    evidence = f"{active} of {count} latents are active units"
    if active >= 0.9 * count:
        effect = "a larger z holds more detail; samples may get worse"
        return Remedy(f"`--latent-dim {2 * count}`", evidence, effect)
    effect = "none: the model does not use all its latents"
    return Remedy("higher `--latent-dim`", evidence, effect, promising=False)


def _suggest_smaller_beta(context: ReportContext, options: Options) -> Remedy | None:
    beta = options.get("beta")
    if not beta or context.elbo_terms is None:
        return None
    kl = format_number(float(context.elbo_terms.rate.sum(1).mean()), 3)
    evidence = f"β = {beta:g}; the KL is {kl} nats per image"
    effect = "larger KL, sharper reconstructions, worse samples"
    if beta <= 1:
        effect += " and a lower ELBO"
    return Remedy(f"`--beta {beta / 2:g}`", evidence, effect, promising=beta >= 1)


def _suggest_other_likelihood(context: ReportContext, options: Options) -> Remedy | None:
    if options.get("likelihood") != "gaussian":
        return None
    if options.get("sigma") is not None:
        evidence = f"σ is fixed at {format_number(options['sigma'], 3)}"
        effect = "a learned σ balances reconstruction error and KL"
        return Remedy("no `--sigma`", evidence, effect)
    effect = "a mixture with its own scales for each pixel; slower; the image shown is still a mean"
    return Remedy("`--likelihood discretized-logistic`", "one σ for all pixels", effect)


def _suggest_flow_prior(context: ReportContext, options: Options) -> Remedy | None:
    samples = context.sharpness.get("samples")
    reconstructions = context.sharpness.get("reconstructions")
    if options.get("prior") != "standard" or samples is None or reconstructions is None:
        return None
    evidence = (
        f"samples have {format_number(samples, 2)} of the data's high-frequency power, "
        f"reconstructions {format_number(reconstructions, 2)}"
    )
    effect = "fits p(z) to the z of the images (closes the prior hole): better samples"
    return Remedy("`--prior flow`", evidence, effect, abs(samples - reconstructions) > 0.1)
