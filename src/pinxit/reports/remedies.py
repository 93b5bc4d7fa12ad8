"""Remedies against blurry reconstructions and samples, given the measurements on the run.

A remedy is listed only if the family has the option that it changes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.training.learning_curve import read_learning_curve

Options = dict[str, Any]

MIN_MARGINAL_KL = 0.05  # of the rate: a prior further from the z of the images has holes


@dataclass(frozen=True)
class Remedy:
    """An option to change, what this run measured, and the effect to expect."""

    option: str
    evidence: str
    effect: str
    promising: bool = True  # the evidence suggests that it helps this run


def find_remedies(context: ReportContext) -> list[Remedy]:
    """Return the remedies that apply to the run: that of its verdict first, then promising ones.

    While a run is undertrained, collapsed or has too few images, no other option is promising: what
    it measures says little about them.
    """
    verdict, options = context.verdict, context.model_options
    rules = (_suggest_more_latents, _suggest_smaller_beta, _suggest_likelihood, _suggest_flow_prior)
    remedies = [remedy for rule in rules if (remedy := rule(context, options)) is not None]
    if verdict.remedy:
        first = Remedy(verdict.remedy, "; ".join(verdict.evidence), verdict.effect)
        others = [r for r in remedies if r.option != verdict.remedy]
        return [first, *(dataclasses.replace(r, promising=False) for r in others)]
    remedies.insert(0, _suggest_longer_training(context))
    return sorted(remedies, key=lambda remedy: not remedy.promising)


def _suggest_longer_training(context: ReportContext) -> Remedy:
    """For a run in a good state: whether its loss was still falling."""
    curve = read_learning_curve(context.run.metrics())
    kind = "validation loss" if curve.is_validation else "training loss"
    fall = curve.last_fall
    evidence = "too few losses to see a trend"
    if fall is not None:
        amount = format_number(fall, 2)
        evidence = f"the {kind} fell by {amount} nats per image in the last quarter"
    effect = "fine details are learned last"
    return Remedy("higher `--minutes`", evidence, effect, promising=curve.still_falls)


def _suggest_more_latents(context: ReportContext, options: Options) -> Remedy | None:
    if context.activity is None or context.activity.levels:
        return None
    if not {"latent_dim", "latent_channels"} & set(options):
        return None
    flag = "--latent-dim" if context.activity.num_channels is None else "--latent-channels"
    active, count = int(context.activity.active.sum()), len(context.activity.active)
    evidence = f"{active} of {count} {context.activity.unit}s are active units"
    if active >= 0.9 * count:
        effect = "a larger z holds more detail; samples may get worse"
        return Remedy(f"`{flag} {2 * count}`", evidence, effect)
    effect = "none: the model does not use all its latents"
    return Remedy(f"higher `{flag}`", evidence, effect, promising=False)


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


def _suggest_likelihood(context: ReportContext, options: Options) -> Remedy | None:
    if options.get("likelihood") != "gaussian":
        return None
    if options.get("sigma") is not None:
        evidence = f"σ is fixed at {format_number(options['sigma'], 3)}"
        effect = "a learned σ balances reconstruction error and KL; a fixed σ² and β are one knob"
        return Remedy("no `--sigma`", evidence, effect)
    effect = "a mixture with its own scales for each pixel; slower; the image shown is still a mean"
    return Remedy("`--likelihood discretized-logistic`", "one σ for all pixels", effect)


def _suggest_flow_prior(context: ReportContext, options: Options) -> Remedy | None:
    samples = context.sharpness.get("samples")
    reconstructions = context.sharpness.get("reconstructions")
    if options.get("prior") != "standard" or samples is None or reconstructions is None:
        return None
    effect = "fits p(z) to the z of the images (closes the prior hole): better samples"
    marginal_kl, rate = (context.metrics.get(name) for name in ("marginal_kl", "rate"))
    if marginal_kl is not None and rate is not None and context.measures_mutual_information:
        part, whole = format_number(marginal_kl, 2), format_number(rate, 2)
        evidence = f"KL(q(z) || p(z)) is {part} of {whole} nats of the rate"
        return Remedy("`--prior flow`", evidence, effect, marginal_kl > MIN_MARGINAL_KL * rate)
    evidence = (
        f"samples have {format_number(samples, 2)} of the data's high-frequency power, "
        f"reconstructions {format_number(reconstructions, 2)}"
    )
    return Remedy("`--prior flow`", evidence, effect, abs(samples - reconstructions) > 0.1)
