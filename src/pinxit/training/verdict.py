"""The verdict on a run in plain words, and what to change first.

It is read from the files of the run: how long it was trained, its training and validation losses,
how much of its latents or codes it uses. It says nothing about tastes: a run can be `good` and its
images blurry, because its family or its size allows no better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pinxit.console import format_number, pluralize
from pinxit.errors import UsageError
from pinxit.models import get_family
from pinxit.runs import Run
from pinxit.training.learning_curve import LearningCurve, read_learning_curve
from pinxit.training.undertraining import TrainingLength, get_training_length

State = Literal[
    "diverged", "undertrained", "too few images", "collapsed", "overfits", "good", "unknown"
]

MIN_TRAIN_IMAGES = 200  # with fewer, a model learns the images rather than their distribution
MIN_TOTAL_KL = 0.1  # nats per image; with less z hardly distinguishes two images
MIN_CODE_PERPLEXITY = 2.0  # of the codes of all images; 1: all patches have the same code

# how warnings of an evaluation begin that say that the latents are not used, that captions do not
# depend on the image, and that samples are copies
COLLAPSE_SIGNS = ("posterior collapse", "reconstructions hardly depend")
CAPTION_SIGN = "the captions ("
COPY_SIGN = "the model reproduces training images"


@dataclass(frozen=True)
class Verdict:
    """The state of a run, what shows it, and the first thing to change."""

    state: State
    evidence: tuple[str, ...]
    remedy: str = ""  # options are in `backticks`; "" if nothing is to be changed
    effect: str = ""
    command: str = ""  # that carries the remedy out, if one command does

    def __str__(self) -> str:
        text = f"{self.state}: {'; '.join(self.evidence)}."
        if not self.remedy:
            return text
        command = f" ({self.command})" if self.command else ""
        return f"{text} First: {self.remedy.replace('`', '')}{command}."

    @property
    def sentence(self) -> str:
        """The evidence as a sentence."""
        text = "; ".join(self.evidence)
        return f"{text[:1].upper()}{text[1:]}."

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"evidence": list(self.evidence)}


@dataclass(frozen=True)
class RunFacts:
    """What the verdict is based on."""

    options: Mapping[str, Any]  # of the model
    option_names: tuple[str, ...]  # that the family has
    num_images: int  # for training
    length: TrainingLength | None
    curve: LearningCurve
    total_kl: float | None = None  # nats per image
    active_units: float | None = None
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # of the evaluation
    resume_command: str = ""  # "" of a component: what contains it holds its weights as they are
    keeps_last: bool = False  # the last weights, whatever their validation loss
    few_steps: int = 0  # with fewer the family's samples are poor, whatever the loss
    allows: Callable[[Mapping[str, Any]], bool] = lambda _: True  # these changes of the options

    @property
    def trades_loss(self) -> bool:
        """Whether an adversarial term trades the loss without it for sharpness."""
        return bool(self.options.get("adversarial"))

    @property
    def is_short(self) -> bool:
        return self.length is not None and self.length.is_short


def assess(run: Run, evaluation: Mapping[str, Any] | None = None) -> Verdict:
    """Return the verdict on a run; `evaluation` is the content of evaluation.json, if there is any.

    The first rule that applies decides: of a run trained too briefly nothing else can be said.
    """
    facts = read_facts(run, evaluation or {})
    rules = (
        _assess_divergence,
        _assess_length,
        _assess_num_images,
        _assess_collapse,
        _assess_memorisation,
        _assess_overfitting,
        _assess_late_fall,
    )
    verdicts = (rule(facts) for rule in rules)
    return next((verdict for verdict in verdicts if verdict is not None), _approve(facts))


def read_facts(run: Run, evaluation: Mapping[str, Any]) -> RunFacts:
    """Read the facts from config.json, metrics.csv and the content of evaluation.json."""
    rows, metrics = run.metrics(), evaluation.get("metrics") or {}
    last_kl = next((row["val_kl"] for row in reversed(rows) if "val_kl" in row), None)
    fields = dataclasses.fields(get_family(run.family).Config)
    return RunFacts(
        options=run.config["model"],
        option_names=tuple(field.name for field in fields),
        num_images=run.info.num_images,
        length=get_training_length(run),
        curve=read_learning_curve(_select_comparable(rows, run.config["model"])),
        total_kl=metrics.get("rate", last_kl),
        active_units=metrics.get("active_units"),
        metrics=metrics,
        warnings=tuple(evaluation.get("warnings") or ()),
        resume_command="" if run.is_component else f"{run.resume_command} --minutes N",
        keeps_last=run.config["training"].get("keep") == "last",
        few_steps=getattr(get_family(run.family), "FEW_STEPS", 0),
        allows=lambda changes: _is_allowed(run, changes),
    )


def _select_comparable(
    rows: list[dict[str, float]], options: Mapping[str, Any]
) -> list[dict[str, float]]:
    """Return the rows since an adversarial term takes effect, which makes the loss rise."""
    start = options.get("adversarial_from") if options.get("adversarial") else None
    if start is None:
        return rows
    return [row for row in rows if row.get("progress", 1.0) >= start] or rows


# -- the rules, in their order -----------------------------------------------------------------


def _assess_divergence(facts: RunFacts) -> Verdict | None:
    curve = facts.curve
    if facts.trades_loss:
        return None
    rose = curve.rise > 0 if curve.is_validation else True
    if not (curve.is_long_enough and rose and curve.training_rose):
        return None
    evidence = "the training loss is higher at the end than it was"
    return Verdict("diverged", (evidence,), "lower `--learning-rate`", "stable updates")


def _assess_length(facts: RunFacts) -> Verdict | None:
    if facts.length is None:
        return None
    if facts.is_short:
        return _call_undertrained(facts, f"trained for {facts.length} only")
    if facts.length.steps < facts.few_steps:
        evidence = f"trained for {facts.length}: samples gain up to {facts.few_steps:,} and beyond"
        return _call_undertrained(facts, evidence)
    return None


def _assess_late_fall(facts: RunFacts) -> Verdict | None:
    if not facts.curve.falls_late:
        return None
    return _call_undertrained(facts, f"the {_loss_name(facts)} was still falling at the end")


def _call_undertrained(facts: RunFacts, *evidence: str) -> Verdict:
    if facts.num_images < MIN_TRAIN_IMAGES:
        evidence = (*evidence, f"only {pluralize(facts.num_images, 'training image')}")
    remedy = "higher `--minutes`"
    if not facts.resume_command:
        remedy = "train both anew, with higher `--minutes`"
    effect = "fine details are learned last"
    return Verdict("undertrained", evidence, remedy, effect, facts.resume_command)


def _assess_num_images(facts: RunFacts) -> Verdict | None:
    if facts.num_images >= MIN_TRAIN_IMAGES:
        return None
    evidence = f"only {pluralize(facts.num_images, 'training image')}"
    effect = "a model of so few images remembers them, and metrics on so few are uncertain"
    return Verdict("too few images", (evidence,), "more images", effect)


def _assess_collapse(facts: RunFacts) -> Verdict | None:
    if evidence := _find_unused_latents(facts):
        remedy, effect = _choose_kl_remedy(facts)
        return Verdict("collapsed", (evidence,), remedy, effect)
    perplexity = facts.metrics.get("code_perplexity")
    if perplexity is not None and perplexity < MIN_CODE_PERPLEXITY:
        evidence = f"nearly all patches have the same code (perplexity {perplexity:.2g})"
        is_vq = facts.options.get("quantizer") == "vq"
        remedy = "`--quantizer fsq`" if is_vq else "`--code-noise 0`"
        return Verdict("collapsed", (evidence,), remedy, "more codes in use")
    if evidence := next((w for w in facts.warnings if w.startswith(CAPTION_SIGN)), ""):
        remedy = "captions that differ from image to image, and higher `--minutes`"
        return Verdict("collapsed", (evidence,), remedy, "captions that depend on the image")
    return None


def _find_unused_latents(facts: RunFacts) -> str:
    if facts.active_units == 0:
        return "none of the latents depends on the image"
    if facts.total_kl is not None and facts.total_kl < MIN_TOTAL_KL:
        return f"z holds at most {facts.total_kl:.2g} nats per image"
    return next((w for w in facts.warnings if w.startswith(COLLAPSE_SIGNS)), "")


def _choose_kl_remedy(facts: RunFacts) -> tuple[str, str]:
    """Return the option that makes the KL term weigh less, and its effect.

    A fixed sigma and beta are one knob: the loss is squared error / (2 sigma^2) + beta KL.
    """
    options = facts.options
    if options.get("sigma") is not None:
        return "no `--sigma`", "a learned σ balances reconstruction error and KL"
    if (options.get("beta") or 0) > 1:
        return "`--beta 1`", "the ELBO's own weight of the KL"
    if not options.get("kl_warmup") and options.get("posterior") != "vmf":
        return "`--kl-warmup 0.3`", "z is in use before the KL counts in full"
    if facts.allows({"free_bits": 0.1}):
        return "`--free-bits 0.1`", "no gain from a KL below 0.1 nats per latent"
    return "`--beta 0.5`", "a KL of half the weight, so that z costs less"


def _is_allowed(run: Run, changes: Mapping[str, Any]) -> bool:
    """Whether the run's model may have its options, changed."""
    try:
        get_family(run.family).Config(**{**run.config["model"], **changes})
    except UsageError:
        return False
    return True


def _assess_memorisation(facts: RunFacts) -> Verdict | None:
    warning = next((w for w in facts.warnings if w.startswith(COPY_SIGN)), "")
    if not warning:
        return None
    return Verdict("overfits", (warning,), _choose_capacity_remedy(facts), "fewer copies")


def _assess_overfitting(facts: RunFacts) -> Verdict | None:
    curve = facts.curve
    if facts.keeps_last or facts.trades_loss:  # a rising loss says little about samples
        return None
    if curve.rise:
        share = (curve.best + 1) / len(curve.losses)
        evidence = f"the validation loss was lowest after {share:.0%} of training"
    elif curve.gap_outgrew_fall:
        evidence = "the validation loss has levelled off"
    else:
        return None
    gap = "" if curve.gap is None else f"; at the end it is {_format_gap(curve.gap)} training loss"
    effect = "less is remembered; training longer does not help, and the best weights are saved"
    return Verdict("overfits", (evidence + gap,), _choose_capacity_remedy(facts), effect)


def _format_gap(gap: float) -> str:
    return f"{format_number(abs(gap), 2)} {'above' if gap >= 0 else 'below'} the"


def _choose_capacity_remedy(facts: RunFacts) -> str:
    if "dropout" in facts.option_names and not facts.options.get("dropout"):
        return "more images, `--dropout 0.1` or a smaller `--width`"
    return "more images, or a smaller `--width`"


def _approve(facts: RunFacts) -> Verdict:
    length, curve = facts.length, facts.curve
    evidence = [f"trained for {length}"] if length else []
    if not curve.is_long_enough:
        evidence.append("there are too few losses to see a trend")
        return Verdict("unknown", tuple(evidence))
    if (facts.keeps_last or facts.trades_loss) and curve.rise:
        share = (curve.best + 1) / len(curve.losses)
        evidence.append(
            f"the loss of unseen images rises since {share:.0%} of training, which says little of "
            "samples: look at them, and at their classifier and memorisation in `pinxit evaluate`"
        )
        return Verdict("unknown", tuple(evidence))
    if curve.still_falls:
        evidence.append(f"the {_loss_name(facts)} was still falling a little")
    else:
        evidence.append(f"the {_loss_name(facts)} has levelled off")
    if not curve.is_validation:
        evidence.append("no validation images, so overfitting would not show")
    where = "see their metrics" if facts.metrics else "`pinxit evaluate` measures them"
    evidence.append(f"samples and reconstructions are not part of this verdict: {where}")
    return Verdict("good", tuple(evidence))


def _loss_name(facts: RunFacts) -> str:
    return "validation loss" if facts.curve.is_validation else "training loss"
