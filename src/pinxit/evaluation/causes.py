"""The causes of blurry samples on a run, each with its size, and the state that the run is in.

Rules on measured numbers, in a fixed order: while a run is undertrained, collapsed or overfits,
its other measurements say little about its options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pinxit.console import format_estimate, format_number
from pinxit.training.verdict import Verdict

State = Literal[
    "diverged", "undertrained", "too few images", "collapsed", "overfits", "wrong variance",
    "prior hole", "good",
]  # fmt: skip

MAX_CALIBRATION = 1.5  # of squared error to stated variance, or its inverse: more is wrong
MIN_HOLE = 0.25  # of the gap of the samples: less is no prior hole
NUM_ERRORS = 2.0  # standard errors that a finding must exceed

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Cause:
    """A cause of blur, and how large it is on this run."""

    key: str
    title: str
    size: str  # a number with its error and unit, as text
    sentence: str  # in plain words
    share: float | None = None  # of the gap of the samples, 0 to 1, where it is measured so

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def find_state(verdict: Verdict, metrics: Metrics) -> State:
    """Return the state of a run: that of its training, or else the largest fault of the model."""
    if verdict.state not in ("good", "unknown"):
        return verdict.state
    if is_miscalibrated(metrics):
        return "wrong variance"
    if has_prior_hole(metrics):
        return "prior hole"
    return "good"


def explain_state(state: State, verdict: Verdict, metrics: Metrics) -> str:
    """Return what shows the state, as a sentence."""
    if state == "wrong variance":
        ratio = format_estimate(metrics["calibration"] or 0.0, metrics.get("calibration_error"))
        return f"The squared error is {ratio} times the variance that p(x|z) states."
    if state == "prior hole":
        share = _percent(metrics["prior_share"] or 0.0, metrics.get("prior_share_error"))
        return f"Of the distance of samples to images {share} is the prior's, not the decoder's."
    return verdict.sentence


def is_miscalibrated(metrics: Metrics) -> bool:
    """Whether p(x|z) states a variance far from the squared error of its means."""
    ratio, error = metrics.get("calibration"), metrics.get("calibration_error") or 0.0
    if ratio is None:
        return False
    is_high = ratio - NUM_ERRORS * error > MAX_CALIBRATION
    return is_high or ratio + NUM_ERRORS * error < 1 / MAX_CALIBRATION


def has_prior_hole(metrics: Metrics) -> bool:
    """Whether much of the gap of the samples is the prior's."""
    share, error = metrics.get("prior_share"), metrics.get("prior_share_error") or 0.0
    return share is not None and share > MIN_HOLE and share > NUM_ERRORS * error


def find_causes(
    metrics: Metrics, verdict: Verdict, *, pixels_depend: bool = False, unit: str = "latent"
) -> list[Cause]:
    """Return the causes in order: the training's, parts of the gap by size, then those in nats.

    The decoder and the prior divide the distance of samples to images between them. What the
    latents and the likelihood cost is measured in nats, which do not compare with such parts. Where
    `pixels_depend` on one another given z, the likelihood does not take errors for white noise.
    A `unit` that is active or not is a latent or a channel of latents.
    """
    measured = [*_decoder_cause(metrics, pixels_depend), *_prior_cause(metrics)]
    measured.sort(key=lambda cause: -(cause.share or 0.0))
    return [
        *_training_cause(verdict),
        *measured,
        *_latent_cause(metrics, unit),
        *(() if pixels_depend else _likelihood_cause(metrics)),
    ]


def _training_cause(verdict: Verdict) -> Iterator[Cause]:
    if verdict.state in ("good", "unknown"):
        return
    yield Cause(
        "training",
        f"the run is {verdict.state}" if verdict.state != "overfits" else "the run overfits",
        "; ".join(verdict.evidence),
        "Mend this first: the other numbers describe a model that is not what it could be.",
    )


def _decoder_cause(metrics: Metrics, pixels_depend: bool) -> Iterator[Cause]:
    sharpness = metrics.get("sharpness_reconstructions")
    prior = metrics.get("prior_share")
    parts = []
    share = None
    if prior is not None:
        share = 1 - prior
        percent = _percent(share, metrics.get("prior_share_error"))
        parts.append(f"{percent} of the distance of samples to images")
    if sharpness is not None:
        detail = format_estimate(sharpness, metrics.get("sharpness_reconstructions_error"))
        parts.append(f"reconstructions have {detail} of the data's fine detail")
    if not parts:
        return
    title, sentence = (
        "the decoder answers with a mean",
        "z leaves open where edges and textures lie exactly; the decoder shows the average of all "
        "images that z could stand for.",
    )
    if pixels_depend:
        title, sentence = (
            "z leaves much to the pixels",
            "What z leaves open each pixel takes from those before it: sharp, but what is far "
            "apart need not fit together.",
        )
    yield Cause("decoder", title, "; ".join(parts), sentence, share)


def _prior_cause(metrics: Metrics) -> Iterator[Cause]:
    share, low, high = (metrics.get(name) for name in ("prior_share", "prior_gain", "marginal_kl"))
    parts = []
    if share is not None:
        percent = _percent(share, metrics.get("prior_share_error"))
        parts.append(f"{percent} of the distance of samples to images")
    if low is not None and high is not None:
        least = format_number(max(low, 0.0), 3)
        most = format_number(max(low, high), 3)
        parts.append(f"KL(q(z) || p(z)) is {least} to {most} nats per image")
    if parts:
        yield Cause(
            "prior",
            "the prior does not meet the posterior",
            "; ".join(parts),
            "Samples start from z where no image was encoded, and the decoder shows something "
            "between the images around.",
            share,
        )


def _latent_cause(metrics: Metrics, unit: str) -> Iterator[Cause]:
    rate, active, units = (metrics.get(name) for name in ("rate", "active_units", "units"))
    if rate is None or active is None or not units:
        return
    size = f"{format_estimate(rate, metrics.get('rate_error'))} nats per image"
    collapsed = round(units - active)
    size += f"; {collapsed} of {round(units)} {unit}s collapsed"
    yield Cause(
        "rate",
        "the latents hold only so much",
        size,
        "What an image holds beyond these nats is not in z, and cannot be in a reconstruction.",
    )


def _likelihood_cause(metrics: Metrics) -> Iterator[Cause]:
    parts = []
    for name, what in (
        ("wrong_sigma", "lost to a wrong variance"),
        ("white_noise", "lost to noise of equal power at all frequencies"),
        ("one_sigma", "lost to one variance for all pixels"),
    ):
        value, error = metrics.get(name), metrics.get(f"{name}_error")
        if value is not None and value > NUM_ERRORS * (error or 0.0):
            parts.append(f"{format_estimate(value, error)} nats per image {what}")
    ratio = metrics.get("calibration")
    if ratio is not None:
        text = format_estimate(ratio, metrics.get("calibration_error"))
        parts.append(f"squared error is {text} of the stated variance")
    if parts:
        yield Cause(
            "likelihood",
            "the likelihood takes errors for white noise",
            "; ".join(parts),
            "p(x|z) says that what is missing is independent from pixel to pixel: a displaced edge "
            "costs as much as a grey one, so that grey edges are the safe answer.",
        )


def _percent(share: float, error: float | None) -> str:
    return f"{format_estimate(100 * share, None if error is None else 100 * error, 2)} %"
