"""Remedies against blurry reconstructions and samples, given the measurements on the run.

A remedy is listed only if the family has the option that it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number

Options = dict[str, Any]


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
    if len(losses) < 4:
        return None
    if column == "val_loss" and (remedy := _detect_overfitting(losses)):
        return remedy
    third_quarter = float(np.mean(losses[len(losses) // 2 : 3 * len(losses) // 4]))
    gain = third_quarter - losses[-1]
    kind = "validation loss" if column == "val_loss" else "training loss"
    fall = format_number(max(gain, 0.0), 2)
    evidence = f"the {kind} fell by {fall} nats per image in the last quarter of training"
    promising = gain > 0.005 * abs(losses[-1])
    return Remedy("higher `--minutes`", evidence, "fine details are learned last", promising)


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
    evidence = f"{active} of {count} latents are active"
    if active >= 0.9 * count:
        effect = "a larger z holds more detail; samples may get worse"
        return Remedy(f"`--latent-dim {2 * count}`", evidence, effect)
    effect = "none: the model does not use all the latents it has"
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
    effect = "fits p(z) to the codes of the images (closes the prior hole): better samples"
    return Remedy("`--prior flow`", evidence, effect, abs(samples - reconstructions) > 0.1)
