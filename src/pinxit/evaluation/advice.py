"""What would help a run, by the state that it is in: options to change, and the commands.

Each remedy names options of `pinxit train`; a trial of it trains from the run's own weights for a
short time, or fits a prior to its latents, and its gain is measured (`pinxit.evaluation.trials`).
Without trials the order is that of the rules.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pinxit.errors import UsageError
from pinxit.evaluation.causes import Metrics, State, has_prior_hole, is_miscalibrated
from pinxit.models import get_family
from pinxit.runs import Run
from pinxit.training.verdict import Verdict

LONGER = "longer"
ANALYTIC: dict[str, Any] = {"variance": "analytic", "sigma": None}
ANALYTIC_EFFECT = "the variance is the mean squared error at each step: calibrated (Rybkin 2020)"
MIN_DETAIL = 0.9  # of the data's, in reconstructions: with less the decoder shows averages
MIN_BOUND_GAP = 1.0  # nats per image between the ELBO and log p(x) that a tighter bound may win
NUM_ERRORS = 2.0  # standard errors that a finding must exceed
MIN_ACTIVE = 0.9  # of the latents: with fewer, more latents would not be used either


@dataclass(frozen=True)
class Remedy:
    """Something to change, why it may help this run, and the command."""

    key: str
    text: str
    effect: str
    command: str
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
        others.append(dataclasses.replace(_train_longer(run), promising=False))
    remedies = [remedy for remedy in (*first, *others) if _is_allowed(run, remedy)]
    return sorted(remedies, key=lambda remedy: not remedy.promising)


def _remedies_of_state(
    run: Run, state: State, verdict: Verdict, metrics: Metrics
) -> Iterator[Remedy]:
    options = run.config["model"]
    if state == "undertrained":
        yield _train_longer(run)
    elif state == "overfits":
        yield Remedy(
            "capacity", verdict.remedy.replace("`", ""), verdict.effect,
            _retrain_smaller(run),
        )  # fmt: skip
    elif state in ("too few images", "diverged"):
        text = verdict.remedy.replace("`", "")
        yield Remedy(state.split()[0], text, verdict.effect, _command_of_verdict(run, state))
    elif state == "collapsed":
        yield from _remedies_of_collapse(run, options)
    elif state == "wrong variance":
        if options.get("sigma") is not None:
            effect = "a sigma that equals the error balances reconstruction and KL"
            yield _change(run, "sigma", "a learned sigma: no --sigma", effect, {"sigma": None})
        if options.get("variance") == "learned":
            yield _change(run, "variance", "--variance analytic", ANALYTIC_EFFECT, ANALYTIC)
        if options.get("sigma") is None:
            yield _train_longer(run)
    elif state == "prior hole":
        yield from _remedies_of_prior(run, metrics)


def _is_allowed(run: Run, remedy: Remedy) -> bool:
    """Whether the options that a remedy changes go with the other ones of the run."""
    try:
        get_family(run.family).Config(**{**run.config["model"], **(remedy.changes or {})})
    except UsageError:
        return False
    return True


def _remedies_of_collapse(run: Run, options: dict[str, Any]) -> Iterator[Remedy]:
    """Make the KL weigh less: a fixed sigma and beta are one knob."""
    if options.get("sigma") is not None:
        effect = "the KL no longer outweighs the reconstruction"
        yield _change(run, "sigma", "a learned sigma: no --sigma", effect, {"sigma": None})
    beta = options.get("beta") or 0.0
    if beta > 1:
        yield _change(run, "beta", "--beta 1", "the ELBO's own weight of the KL", {"beta": 1.0})
    if "free_bits" in options and not options["free_bits"]:
        effect = "no gain from a KL below 0.1 nats per latent, so that z stays in use"
        yield _change(run, "free_bits", "--free-bits 0.1", effect, {"free_bits": 0.1})
    if "kl_warmup" in options and not options["kl_warmup"]:
        effect = "z is in use before the KL counts in full"
        yield _change(run, "kl_warmup", "--kl-warmup 0.3", effect, {"kl_warmup": 0.3})


def _remedies_of_prior(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """Fit the prior to the latents: afterwards, or in training. Nothing is measured: promising."""
    promising = not metrics or has_prior_hole(metrics)
    for kind, text in (("mixture", "a mixture of Gaussians"), ("realnvp", "a RealNVP flow")):
        closed = metrics.get(f"closed_by_{kind}")
        yield Remedy(
            kind,
            f"{text} fitted to the latents, as the prior of samples",
            "samples start where images are encoded; the weights stay as they are",
            f"pinxit sample {run.shell_path} --prior {kind}",
            prior=kind,
            promising=promising and (closed is None or closed > 0),
        )
    options = run.config["model"]
    if options.get("latents") == "grid":
        command = f"pinxit train flow {_source(run)} --vae {run.shell_path}"
        effect = "models how the positions of the grid depend on one another"
        yield Remedy("flow_model", "a flow of the grid of latents", effect, command,
                     promising=promising)  # fmt: skip
    elif options.get("prior") == "standard":
        text = "--prior flow"
        effect = "prior and encoder meet while both are trained"
        remedy = _change(run, "learned_prior", text, effect, {"prior": text.split()[1]})
        yield dataclasses.replace(remedy, promising=promising)
        effect = "a prior with a component where images are encoded (Tomczak 2018)"
        remedy = _change(run, "vamp_prior", "--prior vamp", effect, {"prior": "vamp"})
        yield dataclasses.replace(remedy, promising=promising)
    if "total_correlation" in options and not options["total_correlation"]:
        parts = metrics.get("total_correlation"), metrics.get("dimension_wise_kl")
        effect = "latents that depend less on one another, as the prior says; a lower rate"
        remedy = _change(
            run, "total_correlation", "--total-correlation 5", effect, {"total_correlation": 5.0}
        )
        is_cause = None not in parts and parts[0] > parts[1]  # type: ignore[operator]
        yield dataclasses.replace(remedy, promising=promising and is_cause)


def _remedies_of_likelihood(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """The best variance in place of a learned or given one; one of each pixel."""
    options = run.config["model"]
    if options.get("likelihood") != "gaussian" or "variance" not in options:
        return
    if options["variance"] == "learned":
        remedy = _change(run, "variance", "--variance analytic", ANALYTIC_EFFECT, ANALYTIC)
        is_cause = is_miscalibrated(metrics) or _exceeds_error(metrics, "wrong_sigma", 1.0)
        yield dataclasses.replace(remedy, promising=is_cause)
    if options["variance"] != "per-pixel":
        effect = "a variance for each pixel: borders and backgrounds no longer set that of edges"
        changes = {"variance": "per-pixel", "sigma": None}
        remedy = _change(run, "per_pixel", "--variance per-pixel", effect, changes)
        yield dataclasses.replace(remedy, promising=_exceeds_error(metrics, "one_sigma", 1.0))


def _remedies_of_bound(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """A tighter bound, or a richer q(z|x): where the ELBO is far below log p(x), by `evaluate`."""
    options = run.config["model"]
    if not {"iw_samples", "posterior"} <= set(options):
        return
    gap = measure_bound_gap(run.evaluation().get("metrics") or {})
    active, units = metrics.get("active_units"), metrics.get("units")
    loses_units = bool(active and units and active < MIN_ACTIVE * units)
    if options["iw_samples"] == 1 and options.get("iw_groups", 1) == 1:
        effect = "a bound nearer to log p(x), with more latents in use (Burda 2015); slower steps"
        changes = {"iw_samples": 8, "free_bits": 0.0, "l1_weight": 0.0}
        remedy = _change(run, "iw_samples", "--iw-samples 8", effect, changes)
        yield dataclasses.replace(remedy, promising=gap is not None or loses_units)
    if options["posterior"] == "gaussian":
        effect = "a posterior whose latents may depend on one another (Kingma 2016)"
        remedy = _change(run, "iaf", "--posterior iaf", effect, {"posterior": "iaf"})
        yield dataclasses.replace(remedy, promising=gap is not None)


def measure_bound_gap(metrics: Mapping[str, Any]) -> float | None:
    """Return log p(x) less the ELBO as `evaluate` measured them, if it is well above 0, in nats."""
    values = [metrics.get(name) for name in ("log_likelihood", "elbo")]
    if None in values:
        return None
    gap = float(values[0]) - float(values[1])  # type: ignore[arg-type]
    errors = [metrics.get(f"{name}_error") or 0.0 for name in ("log_likelihood", "elbo")]
    return gap if gap > max(MIN_BOUND_GAP, NUM_ERRORS * max(errors)) else None


def _remedies_of_decoder(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """Losses beside the likelihood, which ask for structure where it shows an average."""
    options = run.config["model"]
    detail, prior = metrics.get("sharpness_reconstructions"), metrics.get("prior_share")
    is_cause = detail is not None and detail < MIN_DETAIL and (prior is None or prior < 0.5)
    for name, value, effect in (
        ("perceptual", 0.1, "images whose features are those of the data, at some loss of nats"),
        ("adversarial", 0.5, "textures that a discriminator takes for real; fewer nats"),
        ("ms_ssim", 0.1, "structure counts beside the error of each pixel"),
    ):
        if name in options and not options[name]:
            text = f"--{name.replace('_', '-')} {value:g}"
            remedy = _change(run, name, text, effect, {name: value})
            yield dataclasses.replace(remedy, promising=is_cause)


def _exceeds_error(metrics: Metrics, name: str, least: float) -> bool:
    """Whether a loss in nats per image is well above 0."""
    value, error = metrics.get(name), metrics.get(f"{name}_error")
    return value is not None and value > max(least, NUM_ERRORS * (error or 0.0))


def _remedies_of_options(run: Run, metrics: Metrics) -> Iterator[Remedy]:
    """More nats in z, and another likelihood."""
    options = run.config["model"]
    beta = options.get("beta")
    if beta:
        effect = "a higher rate: sharper reconstructions, and a prior that fits less"
        text = f"--beta {beta / 2:g}"
        yield _change(run, "beta", text, effect, {"beta": beta / 2})
    active, units = metrics.get("active_units"), metrics.get("units")
    name = "latent_channels" if options.get("latents") == "grid" else "latent_dim"
    if active and units and active >= MIN_ACTIVE * units and options.get(name):
        text = f"--{name.replace('_', '-')} {2 * options[name]}"
        effect = "z can hold more of an image"
        yield _change(run, "latents", text, effect, {name: 2 * options[name]})
    if options.get("likelihood") == "gaussian":
        changes = {"likelihood": "discretized-logistic", "sigma": None, "l1_weight": 0.0}
        effect = "a scale for each pixel: certain where it can be; the image shown is still a mean"
        text = "--likelihood discretized-logistic"
        yield _change(run, "likelihood", text, effect, changes)


def _train_longer(run: Run) -> Remedy:
    trained = run.config.get("trained") or {}
    minutes = 2 * (trained.get("seconds") or 150.0) / 60
    command = f"{run.resume_command} --minutes {minutes:.2g}"
    return Remedy(LONGER, "longer training", "fine details are learned last", command, changes={})


def _change(run: Run, key: str, text: str, effect: str, changes: dict[str, Any]) -> Remedy:
    return Remedy(key, text, effect, retrain_command(run, changes, key), changes=changes)


def _retrain_smaller(run: Run) -> str:
    width = run.config["model"].get("width")
    changes = {} if not width or width < 16 else {"width": width // 2}
    return retrain_command(run, changes, "smaller")


def _command_of_verdict(run: Run, state: State) -> str:
    if state == "diverged":
        rate = run.config["training"].get("learning_rate")
        changes = {"learning_rate": rate / 3} if rate else {}
        return retrain_command(run, changes, "slower")
    return f"pinxit train {run.family} MORE_IMAGES/"


def _source(run: Run) -> str:
    return shlex.quote((run.config.get("data") or {}).get("source") or "DATA")


def retrain_command(run: Run, changes: dict[str, Any], suffix: str) -> str:
    """Return a command that trains the run anew with options changed, into another folder.

    It is the run's own command, if that is known; else one with every option of the model that
    is not the default.
    """
    words = _own_words(run)
    for name, value in changes.items():
        words = _without_flag(words, f"--{name.replace('_', '-')}")
        if value is not None and value != _default(run, name):
            words += [f"--{name.replace('_', '-')}", _format(value)]
    words = _without_flag(_without_flag(words, "--out"), "-o")
    out = run.path.with_name(f"{run.path.name}-{suffix.replace('_', '-')}")
    return shlex.join([*words, "--out", str(out)])


def _own_words(run: Run) -> list[str]:
    command = run.config.get("command")
    if command:
        return shlex.split(command)
    source = (run.config.get("data") or {}).get("source") or "DATA"
    words = ["pinxit", "train", run.family, source]
    for name, value in run.config["model"].items():
        if value is not None and value != _default(run, name) and not isinstance(value, dict):
            words += [f"--{name.replace('_', '-')}", _format(value)]
    return words


def _default(run: Run, name: str) -> Any:
    return getattr(get_family(run.family).Config(), name, None)


def _format(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _without_flag(words: list[str], flag: str) -> list[str]:
    """Return the words without a flag and its value: `--beta 2` or `--beta=2`."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == flag:
            skip = True
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept
