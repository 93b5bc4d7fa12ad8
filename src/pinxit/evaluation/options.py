"""The options of `evaluate`: of the Python function and, flattened, of the command. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pinxit.data.split_names import SPLITS, SplitOrAll
from pinxit.errors import UsageError, did_you_mean
from pinxit.models.generation import GenerationParams

PriorOfSamples = Literal["own", "mixture", "realnvp"]
LEAST = {"iw_samples": 0, "probe_train_size": 0, "max_images": 2, "likelihood_images": 1}


@dataclass(frozen=True)
class EvalOptions:
    """Options of `evaluate`. Raises UsageError for a value out of range."""

    # split to measure on. Choose options on `validation`, report on `test`: a metric on which an
    # option was chosen is too good
    split: SplitOrAll = "test"
    # importance samples per image for the log-likelihood; 0 skips it; None: 5,000, but none of a
    # grid of latents, whose weights are too uneven for so few
    iw_samples: int | None = None
    # share of the importance samples that come from wider distributions than the encoder's, which
    # find images that it misses: half from N(mean, 4 variance), half from the prior
    defensive_share: float = 0.1
    # label-conditional models: also average the likelihood over the labels, log sum_y p(y) p(x|y),
    # with one pass per label; comparable with models that have no labels
    average_labels: bool = False
    # images for the log-likelihood and for text; None: about a minute's work on two CPU
    # cores, 2,000 if the likelihood is exact, 512 captions
    likelihood_images: int | None = None
    # images on each side of a distance; also the most samples and captions
    max_images: int = 5_000
    # where z of the samples comes from: the model's own prior, or one fitted to its latents after
    # training and kept in the run folder, as of `pinxit sample --prior`; likelihoods are of its own
    prior: PriorOfSamples = "own"
    # Frechet distance, precision, recall and memorisation
    distances: bool = True
    # FID too; needs torch-fidelity (`pip install 'pinxit[fid]'`) and the Inception-v3 weights
    fid: bool = False
    # training images for the linear probe; 0 skips it
    probe_train_size: int = 10_000
    # run whose frozen encoder is the feature space of the distances; None: a small network
    # trained once per data set
    feature_run: Path | None = None
    # how images and captions are generated; its seed is the seed of the whole evaluation
    generation: GenerationParams = field(default_factory=GenerationParams)

    def __post_init__(self) -> None:
        if self.split not in (*SPLITS, "all"):
            hint = did_you_mean(self.split, [*SPLITS, "all"])
            raise UsageError(f"there is no split '{self.split}'.{hint}")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be {least} or more, not {value}.")
        if not 0 <= self.defensive_share < 1:
            raise UsageError(
                f"defensive_share must be at least 0 and below 1, not {self.defensive_share}."
            )
        if self.iw_samples == 0 and self.defensive_share != type(self).defensive_share:
            raise UsageError("defensive_share needs iw_samples above 0.")
        for name in ("fid", "feature_run"):
            if getattr(self, name) and not self.distances:
                raise UsageError(f"{name} needs distances, which are switched off.")
        if self.prior not in get_args(PriorOfSamples):
            hint = did_you_mean(self.prior, get_args(PriorOfSamples))
            raise UsageError(f"there is no prior '{self.prior}'.{hint}")
        if not isinstance(self.generation.seed, int):
            raise UsageError("an evaluation has one seed, not one for each image.")

    @property
    def seed(self) -> int:
        """The seed of the evaluation."""
        assert isinstance(self.generation.seed, int)
        return self.generation.seed


def resolve_options(options: EvalOptions | None, changes: Mapping[str, Any]) -> EvalOptions:
    """Return `options` with `changes` applied; those of `GenerationParams` go to `generation`.

    Raises UsageError for an unknown name, with the nearest known one.
    """
    options = options or EvalOptions()
    own, generation = (
        [f.name for f in dataclasses.fields(kind)] for kind in (EvalOptions, GenerationParams)
    )
    for name in changes:
        if name not in (*own, *generation):
            raise UsageError(f"no option '{name}'.{did_you_mean(name, [*own, *generation])}")
    changed = {name: value for name, value in changes.items() if name in own}
    params = {name: value for name, value in changes.items() if name in generation}
    if params:
        base = changed.get("generation", options.generation)
        changed["generation"] = dataclasses.replace(base, **params)
    if changed.get("feature_run") is not None:
        changed["feature_run"] = Path(changed["feature_run"])
    return dataclasses.replace(options, **changed)
