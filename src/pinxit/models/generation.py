"""The parameters of all methods that generate images: sample, draw, edit and complete.

A model's methods take `GenerationParams`, keyword options, or both; options win:

    model.sample(16, seed=0)
    model.draw(["a red star"], GenerationParams(guidance=1.5), best_of=8)

An option that a model does not use is an error. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pinxit.data.batch import DatasetInfo, Seed
from pinxit.data.seeds import check_seed
from pinxit.errors import UnusedOptionError, UsageError, did_you_mean, format_value

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from pinxit.data.images import Images

# parameters of every generator; of a ladder of latents; of token generators; of generators
# conditioned on text
SEEDED = ("seed", "temperature", "start")
LEVELS = (*SEEDED, "level_temperatures")
TOKENS = (*SEEDED, "top_k", "top_p")
GUIDED = (*TOKENS, "guidance", "best_of")

INTEGERS = ("top_k", "best_of", "steps", "start")
NUMBERS = ("temperature", "top_p", "guidance", "strength")
NEVER_NONE = ("best_of", "start")
MAX_STEPS = 1_000  # from noise to image: more change nothing that can be seen


class Reranker(Protocol):
    """Scores images by log p(text | image) in nats: any model that `CanCaption`."""

    info: DatasetInfo
    text_tokenizer: Any  # TextTokenizer; the command line evaluates these types without torch

    def caption_log_prob(
        self, images: Images, texts: Sequence[str], languages: Sequence[str]
    ) -> Float32[np.ndarray, " n"]: ...


@runtime_checkable
class SamplesFromCaptions(Protocol):
    """Its samples are images of captions of the training."""

    def captions_of_samples(self, n: int, params: GenerationParams) -> list[tuple[str, str]]:
        """Return the caption and its language of each image of `sample`; [] if it has none."""
        ...


@runtime_checkable
class SamplesFromLabels(Protocol):
    """Its samples have the labels of images of the training."""

    def labels_of_samples(self, n: int, params: GenerationParams) -> list[str | None] | None:
        """Return the label of each image of `sample`; [] if it has none, None if it is unknown."""
        ...


@dataclass(frozen=True)
class GenerationParams:
    """How images are generated. Raises UsageError for a value out of range."""

    # random seed; image i depends on (seed, i) only, not on how many are generated
    seed: Seed = 0
    # sampling temperature: 1 samples from the model, lower is less diverse, 0 takes the most
    # likely; None: 1
    temperature: float | None = None
    # temperature of each level of a ladder of latents (vae), from coarse to fine, in place of
    # temperature; None: the same for all
    level_temperatures: tuple[float, ...] | None = None
    # sample from the K most likely tokens only
    top_k: int | None = None
    # nucleus sampling: the smallest set of tokens whose probabilities sum to P
    top_p: float | None = None
    # classifier-free guidance scale: above 1 follows text, label or cluster more closely, 0 ignores
    # it; None: 1, but 2 for a flow with such conditions
    guidance: float | None = None
    # generate this many candidates for each image and keep the best
    best_of: int = 1
    # captioning run (trained with --source image --target text) that chooses among the candidates:
    # the one with the highest log p(caption | image); None: the most likely one
    reranker: Reranker | None = None
    # steps from noise to image (flow): more follow the path more closely; None: 20, for shortcut 4
    steps: int | None = None
    # how the path from noise to image is followed (flow): heun takes two evaluations a step, euler
    # one; shortcut: few large steps, of a run trained with --shortcut-share; None: heun
    solver: Literal["heun", "euler", "shortcut"] | None = None
    # how far an edit departs from its image (flow): 0 keeps it, 1 forgets it; None: 0.6
    strength: float | None = None
    # index of the first image: generates images start, start + 1, ... of the seed
    start: int = 0

    def __post_init__(self) -> None:
        self._check_types()
        self._check_lists()
        if isinstance(self.seed, Integral):  # of NumPy, too
            object.__setattr__(self, "seed", int(self.seed))
        for seed in (self.seed,) if isinstance(self.seed, int) else self.seed:
            check_seed(seed)
        if self.temperature is not None and not 0 <= self.temperature < math.inf:
            raise UsageError(f"temperature must be 0 or more, not {self.temperature}.")
        for value in self.level_temperatures or ():
            if not 0 <= value < math.inf:
                raise UsageError(f"level_temperatures must be 0 or more, not {value}.")
        if self.level_temperatures is not None and self.temperature is not None:
            raise UsageError("level_temperatures take the place of temperature; give one of them.")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {self.top_k}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p must be above 0 and at most 1, not {self.top_p}.")
        if self.guidance is not None and not 0 <= self.guidance < math.inf:
            raise UsageError(f"guidance must be 0 or more, not {self.guidance}.")
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise UsageError(f"steps must be between 1 and {MAX_STEPS:,}, not {self.steps}.")
        if self.solver not in (None, "heun", "euler", "shortcut"):
            raise UsageError(f"solver is heun, euler or shortcut, not '{self.solver}'.")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise UsageError(f"strength must be between 0 and 1, not {self.strength}.")
        if self.start < 0:
            raise UsageError(f"start must be 0 or more, not {self.start}.")
        if self.start > 0 and not isinstance(self.seed, int):
            raise UsageError("start needs one seed: a seed for each image is that image's own.")
        if self.best_of < 1:
            raise UsageError(f"best_of must be at least 1, not {self.best_of}.")
        if self.reranker is not None and self.best_of < 2:
            raise UsageError("a reranker needs best_of 2 or more.")

    def _check_types(self) -> None:
        for names, kind in ((INTEGERS, Integral), (NUMBERS, Real)):
            for name in names:
                value = getattr(self, name)
                if value is None and name not in NEVER_NONE:
                    continue
                if isinstance(value, bool) or not isinstance(value, kind):
                    what = "an integer" if kind is Integral else "a number"
                    raise UsageError(f"{name} is {what}, not {format_value(value)}.")
        if self.reranker is not None and not hasattr(self.reranker, "caption_log_prob"):
            raise UsageError(
                f"a reranker is a captioning model, not {format_value(self.reranker)}."
            )

    def _check_lists(self) -> None:
        """Make iterables tuples, lists of seeds aside. Raises UsageError for other values."""
        seeds = _to_tuple(self.seed, Integral)
        if seeds is None and (isinstance(self.seed, bool) or not isinstance(self.seed, Integral)):
            raise UsageError(
                f"seed is an integer, or one for each image, not {format_value(self.seed)}."
            )
        if seeds is not None and not isinstance(self.seed, list):
            object.__setattr__(self, "seed", seeds)
        if self.level_temperatures is not None:
            levels = _to_tuple(self.level_temperatures, Real)
            if levels is None:
                raise UsageError(
                    "level_temperatures are numbers, one for each level, "
                    f"not {format_value(self.level_temperatures)}."
                )
            object.__setattr__(self, "level_temperatures", levels)

    def overrides(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults, by name."""
        pairs = ((f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self))
        return {name: value for name, value, default in pairs if value != default}


def _to_tuple(values: Any, kind: type) -> tuple[Any, ...] | None:
    """Return an iterable of numbers of a kind as a tuple; None for anything else."""
    if not hasattr(values, "__iter__") or isinstance(values, str):
        return None
    try:
        items = tuple(values)
    except TypeError:  # an array without axes
        return None
    is_valid = all(isinstance(item, kind) and not isinstance(item, bool) for item in items)
    return items if is_valid else None


def resolve_params(
    params: GenerationParams | None,
    options: Mapping[str, Any],
    used: Collection[str],
    temperature: float | None = 1.0,
    guidance: float = 1.0,
) -> GenerationParams:
    """Merge `options` into `params`; those two become `temperature` and `guidance` where None.

    `used` are the parameters that the model uses. Raises UsageError for an unknown option, and for
    an option that is set but not used.
    """
    known = [field.name for field in dataclasses.fields(GenerationParams)]
    for name in options:
        if name not in known:
            raise UsageError(f"no option '{name}'.{did_you_mean(name, known)}")
    params = dataclasses.replace(params or GenerationParams(), **options)
    unused = [name for name in params.overrides() if name not in used]
    if unused:
        raise UnusedOptionError(unused, sorted(used))
    if params.level_temperatures is not None:
        temperature = None
    resolved = dataclasses.replace(
        params,
        temperature=temperature if params.temperature is None else params.temperature,
        guidance=guidance if params.guidance is None else params.guidance,
    )
    if resolved.temperature == 0:
        _check_greedy(resolved)
    return resolved


def _check_greedy(params: GenerationParams) -> None:
    """Raise UsageError for options that change nothing at temperature 0."""
    values = {"best_of": params.best_of > 1, "top_k": params.top_k, "top_p": params.top_p}
    names = [name for name, value in values.items() if value and (name, value) != ("top_p", 1)]
    if names:
        verb = "needs" if len(names) == 1 else "need"
        raise UsageError(
            f"{' and '.join(names)} {verb} a temperature above 0: at 0 all candidates are equal."
        )


def preview_options(model: object) -> dict[str, Any]:
    """Return the options with which a model generates many images to look at: fewer steps."""
    return dict(getattr(model, "preview_options", {}))
