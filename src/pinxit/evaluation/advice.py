"""What would help a run, by the state that it is in: options to change, and the commands.

Each remedy names options of `pinxit train`; a trial of it trains from the run's own weights for a
short time, or fits a prior to its latents, and its gain is measured (`pinxit.evaluation.trials`).
Without trials the order is that of the rules. `explain` and the report show the same remedies: the
report has fewer measurements, and takes those of `explain` where there are any.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pinxit.console import format_number
from pinxit.errors import UsageError
from pinxit.evaluation.causes import Metrics, State, is_miscalibrated
from pinxit.evaluation.evidence import (
    assess_prior,
    describe_activity,
    describe_loss,
    describe_variance,
    exceeds_error,
    measure_bound_gap,
)
from pinxit.evaluation.retrain_command import (
    data_names,
    list_unused_options,
    retrain_command,
    train_words,
)
from pinxit.models import get_family
from pinxit.models.option_effects import check_training_rules
from pinxit.runs import Run
from pinxit.training.learning_curve import read_learning_curve
from pinxit.training.verdict import Verdict

LONGER = "longer"
ANALYTIC: dict[str, Any] = {"variance": "analytic", "sigma": None}
DISCRETIZED = {"likelihood": "discretized-logistic", "sigma": None, "l1_weight": 0.0}
ANALYTIC_EFFECT = "the variance is the mean squared error at each step: calibrated (Rybkin 2020)"
MIN_DETAIL = 0.9  # of the data's, in reconstructions: with less the decoder shows averages
MIN_ACTIVE = 0.9  # of the latents: with fewer, more latents would not be used either


@dataclass(frozen=True)
class Remedy:
    """Something to change, why it may help this run, and the command."""

    key: str
    text: str
    effect: str
    command: str
    evidence: str = ""  # what this run measured
    changes: dict[str, Any] | None = None  # model options of its trial; None: nothing is trained
    prior: str = ""  # fitted to the latents after training; its trial trains nothing
    promising: bool = True

    @property
    def can_try(self) -> bool:
        """Whether a short trial from the run's weights measures it."""
        return self.changes is not None or bool(self.prior)


def list_remedies(run: Run, state: State, verdict: Verdict, metrics: Metrics) -> list[Remedy]:
    """Return the remedies for a run, that of its state first.

    Only the remedies for its state are promising, unless that is good.
    """
    first = list(_remedies_of_state(run, state, verdict, metrics))
    keys = {remedy.key for remedy in first}
    others = [
        remedy
        for remedy in (
            *_remedies_of_prior(run, metrics),
            *_remedies_of_likelihood(run, metrics),
            *_remedies_of_bound(run, metrics),
            *_remedies_of_options(run, metrics),
            *_remedies_of_decoder(run, metrics),
        )
        if remedy.key not in keys
    ]
    if state != "good":
        others = [dataclasses.replace(r, promising=False) for r in others]
    if LONGER not in keys:
        others.insert(0, _consider_longer(run, promising=state == "good"))
    remedies = [remedy for remedy in (*first, *others) if _is_allowed(run, remedy)]
    return sorted(remedies, key=lambda remedy: not remedy.promising)


def _remedies_of_state(
    run: Run, state: State, verdict: Verdict, metrics: Metrics
) -> Iterator[Remedy]:
    options, evidence = run.config["model"], "; ".join(verdict.evidence)
    if state == "undertrained":
        yield _train_longer(run, evidence)
    elif state == "overfits":
        yield Remedy(
            "capacity", verdict.remedy.replace("`", ""), verdict.effect,
            _retrain_smaller(run), evidence,
        )  # fmt: skip
    elif state in ("too few images", "diverged"):
        text, command = verdict.remedy.replace("`", ""), _command_of_verdict(run, state)
        yield Remedy(state.split()[0], text, verdict.effect, command, evidence)
    elif state == "collapsed":
        for remedy in _remedies_of_collapse(run, options):
            yield dataclasses.replace(remedy, evidence=evidence)
    elif state == "wrong variance":
        yield from _remedies_of_variance(run, options, metrics)
    elif state == "prior hole":
        yield from _remedies_of_prior(run, metrics)


def _remedies_of_variance(
    run: Run, options: Mapping[str, Any], metrics: Metrics
) -> Iterator[Remedy]:
    evidence = describe_variance(options, metrics)
    if options.get("sigma") is not None:
        effect = "a sigma that equals the error balances reconstruction and KL"
        text = "a learned sigma: no --sigma"
        yield _change(run, "sigma", text, effect, {"sigma": None}, evidence)
    if options.get("variance") == "learned":
        yield _change(run, "variance", "--variance analytic", ANALYTIC_EFFECT, ANALYTIC, evidence)
    if options.get("sigma") is None:
        yield _train_longer(run, evidence)


def _is_allowed(run: Run, remedy: Remedy) -> bool:
    """Whether the options that a remedy changes go with the run's others, and have an effect."""
    changes = remedy.changes or {}
    kind = get_family(run.family).Config
    try:
        check_training_rules(kind(**{**run.config["model"], **changes}).resolve(run.info))
    except UsageError:
        return False
    unused = list_unused_options(run, changes)
    return all(changes[name] == getattr(kind(), name) for name in unused if name in changes)


def _remedies_of_collapse(run: Run, options: dict[str, Any]) -> Iterator[Remedy]:
    """Make the KL weigh less, in the order of the verdict: a fixed sigma and beta are one knob."""
    if options.get("sigma") is not None:
        effect = "the KL no longer outweighs the reconstruction"
        yield _change(run, "sigma", "a learned sigma: no --sigma", effect, {"sigma": None})
    beta = options.get("beta") or 0.0
    if beta > 1:
        yield _change(run, "beta", "--beta 1", "the ELBO's own weight of the KL", {"beta": 1.0})
    if "kl_warmup" in options and not options["kl_warmup"]:
        effect = "z is in use before the KL counts in full"
        yield _change(run, "kl_warmup", "--kl-warmup 0.3", effect, {"kl_warmup": 0.3})
    if "free_bits" in options and not options["free_bits"]:
        effect = "no gain from a KL below 0.1 nats per latent, so that z stays in use"
        yield _change(run, "free_bits", "--free-bits 0.1", effect, {"free_bits": 0.1})


def _remedies_of_prior(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """Fit the prior to the latents: afterwards, or in training."""
    evidence, promising = assess_prior(metrics)
    for kind, text in (("mixture", "a mixture of Gaussians"), ("realnvp", "a RealNVP flow")):
        closed = metrics.get(f"closed_by_{kind}")
        yield Remedy(
            kind,
            f"{text} fitted to the latents, as the prior of samples",
            "samples start where images are encoded; the weights stay as they are",
            f"pinxit sample {run.shell_path} --prior {kind}",
            _join(evidence, "" if closed is None else f"closes {100 * closed:.0f} % of the gap"),
            prior=kind,
            promising=promising and (closed is None or closed > 0),
        )
    options = run.config["model"]
    if options.get("latents") == "grid":
        if options.get("condition") != "label":  # a flow gives its VAE no labels
            words = train_words("pinxit train flow", data_names(run), ["--vae", str(run.path)])
            effect = "models how the positions of the grid depend on one another"
            yield Remedy("flow_model", "a flow of the grid of latents", effect, shlex.join(words),
                         evidence, promising=promising)  # fmt: skip
    elif options.get("prior") == "standard":
        effect = "prior and encoder meet while both are trained"
        text = "--prior flow"
        changes = {"prior": text.split()[1]}
        remedy = _change(run, "learned_prior", text, effect, changes, evidence)
        yield dataclasses.replace(remedy, promising=promising)
        effect = "a prior with a component where images are encoded (Tomczak 2018)"
        remedy = _change(run, "vamp_prior", "--prior vamp", effect, {"prior": "vamp"}, evidence)
        yield dataclasses.replace(remedy, promising=promising)
    yield from _penalty_of_correlation(run, metrics, promising)


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _penalty_of_correlation(run: Run, metrics: Metrics, promising: bool) -> Iterator[Remedy]:
    options = run.config["model"]
    if "total_correlation" not in options or options["total_correlation"]:
        return
    total, dimension_wise = metrics.get("total_correlation"), metrics.get("dimension_wise_kl")
    effect = "latents that depend less on one another, as the prior says; a lower rate"
    changes, evidence, is_cause = {"total_correlation": 5.0}, "", False
    if total is not None and dimension_wise is not None:
        is_cause = total > dimension_wise
        evidence = f"the latents' total correlation is {format_number(total, 2)} nats"
    text = "--total-correlation 5"
    remedy = _change(run, "total_correlation", text, effect, changes, evidence)
    yield dataclasses.replace(remedy, promising=promising and is_cause)


def _remedies_of_likelihood(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """The best variance in place of a learned or given one; one of each pixel."""
    options = run.config["model"]
    if options.get("likelihood") != "gaussian" or "variance" not in options:
        return
    if options["variance"] == "learned":
        evidence = describe_variance(options, metrics)
        remedy = _change(
            run, "variance", "--variance analytic", ANALYTIC_EFFECT, ANALYTIC, evidence
        )
        is_cause = is_miscalibrated(metrics) or exceeds_error(metrics, "wrong_sigma", 1.0)
        if metrics.get("calibration") is None:
            is_cause = options.get("sigma") is not None
        yield dataclasses.replace(remedy, promising=is_cause)
    if options["variance"] != "per-pixel":
        effect = "a variance for each pixel: borders and backgrounds no longer set that of edges"
        changes = {"variance": "per-pixel", "sigma": None}
        evidence = describe_loss(metrics, "one_sigma", "lost to one σ for all pixels")
        remedy = _change(run, "per_pixel", "--variance per-pixel", effect, changes, evidence)
        yield dataclasses.replace(remedy, promising=exceeds_error(metrics, "one_sigma", 1.0))


def _remedies_of_bound(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """A tighter bound, or a richer q(z|x): where the ELBO is far below log p(x), by `evaluate`."""
    options = run.config["model"]
    if not {"iw_samples", "posterior"} <= set(options):
        return
    gap = measure_bound_gap(run.evaluation().get("metrics") or {})
    active, units = metrics.get("active_units"), metrics.get("units")
    loses_units = bool(active and units and active < MIN_ACTIVE * units)
    evidence = "" if gap is None else f"the ELBO is {format_number(gap, 2)} nats below log p(x)"
    if options["iw_samples"] == 1 and options.get("iw_groups", 1) == 1:
        effect = "a bound nearer to log p(x), with more latents in use (Burda 2015); slower steps"
        changes = {"iw_samples": 8, "free_bits": 0.0, "l1_weight": 0.0}
        shown = evidence or describe_activity(options, metrics)
        remedy = _change(run, "iw_samples", "--iw-samples 8", effect, changes, shown)
        yield dataclasses.replace(remedy, promising=gap is not None or loses_units)
    if options["posterior"] == "gaussian":
        effect = "a posterior whose latents may depend on one another (Kingma 2016)"
        changes = {"posterior": "iaf"}
        remedy = _change(run, "iaf", "--posterior iaf", effect, changes, evidence)
        yield dataclasses.replace(remedy, promising=gap is not None)


def _remedies_of_decoder(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """Pixels that follow one another, or losses for structure, where it shows an average."""
    options = run.config["model"]
    detail, prior = metrics.get("sharpness_reconstructions"), metrics.get("prior_share")
    is_cause = detail is not None and detail < MIN_DETAIL and (prior is None or prior < 0.5)
    evidence = ""
    if detail is not None:
        amount = format_number(detail, 2)
        evidence = f"reconstructions have {amount} of the data's high-frequency power"
    # in color it took long to use z at all (docs/log.md, "What sharpens a VAE")
    if options.get("decoder_head") == "independent" and run.info.channels == 1:
        changes: dict[str, Any] = {"decoder_head": "autoregressive"}
        if options.get("likelihood") == "gaussian":
            changes |= DISCRETIZED
        effect = (
            "samples with texture: each pixel follows those beside it; a lower rate, and slower"
        )
        text = "--decoder-head autoregressive"
        remedy = _change(run, "decoder_head", text, effect, changes, evidence)
        yield dataclasses.replace(remedy, promising=is_cause)
    for name, value, effect in (
        ("perceptual", 0.1, "images whose features are those of the data, at some loss of nats"),
        ("adversarial", 0.5, "textures that a discriminator takes for real; fewer nats"),
        ("ms_ssim", 0.1, "structure counts beside the error of each pixel"),
    ):
        if name in options and not options[name]:
            text = f"--{name.replace('_', '-')} {value:g}"
            remedy = _change(run, name, text, effect, {name: value}, evidence)
            yield dataclasses.replace(remedy, promising=is_cause)


def _remedies_of_options(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """More nats in z, and another likelihood."""
    options = run.config["model"]
    beta, rate = options.get("beta"), metrics.get("rate")
    if beta:
        effect = "a higher rate: sharper reconstructions, and a prior that fits less"
        effect += "; a lower ELBO" if beta <= 1 else ""
        evidence = f"β is {beta:g}"
        evidence += "" if rate is None else f"; the rate is {format_number(rate, 3)} nats per image"
        yield _change(run, "beta", f"--beta {beta / 2:g}", effect, {"beta": beta / 2}, evidence)
    yield from _more_latents(run, metrics)
    if options.get("likelihood") == "gaussian":
        effect = "a scale for each pixel: certain where it can be; the image shown is still a mean"
        text, evidence = "--likelihood discretized-logistic", "p(x|z) is Gaussian"
        yield _change(run, "likelihood", text, effect, DISCRETIZED, evidence)


def _more_latents(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """More latents help only where all are used."""
    options = run.config["model"]
    active, units = metrics.get("active_units"), metrics.get("units")
    name = "latent_channels" if options.get("latents") == "grid" else "latent_dim"
    if not active or not units or not options.get(name) or options["latents"] == "ladder":
        return
    text = f"--{name.replace('_', '-')} {2 * options[name]}"
    is_full = active >= MIN_ACTIVE * units
    effect = "z can hold more of an image" if is_full else "none: it does not use all that it has"
    changes = {name: 2 * options[name]}
    remedy = _change(run, "latents", text, effect, changes, describe_activity(options, metrics))
    yield dataclasses.replace(remedy, promising=is_full)


def _train_longer(run: Run, evidence: str) -> Remedy:
    trained = run.config.get("trained") or {}
    minutes = 2 * (trained.get("seconds") or 150.0) / 60
    command = f"{run.resume_command} --minutes {minutes:.3g}"
    text, effect = "longer training", "fine details are learned last"
    return Remedy(LONGER, text, effect, command, evidence, changes={})


def _consider_longer(run: Run, *, promising: bool) -> Remedy:
    """Longer training of a run whose state does not call for it: promising while its loss falls."""
    curve = read_learning_curve(run.metrics())
    kind = "validation loss" if curve.is_validation else "training loss"
    evidence = "too few losses to see a trend"
    if curve.last_fall is not None:
        amount = format_number(curve.last_fall, 2)
        evidence = f"the {kind} fell by {amount} nats per image in the last quarter"
    remedy = _train_longer(run, evidence)
    return dataclasses.replace(remedy, promising=promising and curve.still_falls)


def _change(
    run: Run, key: str, text: str, effect: str, changes: dict[str, Any], evidence: str = ""
) -> Remedy:
    command = retrain_command(run, changes, key)
    return Remedy(key, text, effect, command, evidence, changes=changes)


def _retrain_smaller(run: Run) -> str:
    width = run.config["model"].get("width")
    changes = {} if not width or width < 16 else {"width": width // 2}
    return retrain_command(run, changes, "smaller")


def _command_of_verdict(run: Run, state: State) -> str:
    if state == "diverged":
        rate = run.config["training"].get("learning_rate")
        changes = {"learning_rate": float(f"{rate / 3:.2g}")} if rate else {}
        return retrain_command(run, changes, "slower")
    return f"pinxit train {run.family} MORE_IMAGES/"
