"""Measured gains of remedies, and the curve of distortion over rate, from short trainings.

Each trial starts from the run's own weights and trains for as many steps as the others; one of
them changes nothing, so that what longer training alone brings is known. Remedies are put in order
on validation images; the numbers to report are those of the test images, measured once beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.console import StageProgress
from pinxit.data.images import Images
from pinxit.errors import PinxitError
from pinxit.evaluation.advice import LONGER, Remedy
from pinxit.evaluation.estimates import Estimate, estimate_mean
from pinxit.evaluation.explain_metrics import Metrics, flatten
from pinxit.evaluation.feature_space import FeatureSpace
from pinxit.evaluation.frechet import fit_gaussian, frechet_distance, leave_out_gaussians
from pinxit.evaluation.jackknife import assign_blocks, jackknife_estimate
from pinxit.evaluation.power_spectrum import power_spectrum, sharpness
from pinxit.evaluation.prior_gap import NUM_BLOCKS
from pinxit.models.latent_densities import Density
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.nn.device import resolve_device
from pinxit.runs import Run
from pinxit.sampling.elbo import elbo_terms
from pinxit.sampling.fitted_priors import sample_from_density
from pinxit.sampling.inputs import match_labels, select_rows
from pinxit.sampling.label_matched import sample_with_label_frequencies
from pinxit.sampling.latents import latent_activity
from pinxit.sampling.observation import mean_observation
from pinxit.training.trials import has_new_layers, train_trial

FOLDER = "explain"  # in the run folder
BETA_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the run's beta, on the curve
MAX_REMEDIES = 6  # that are trained; priors are fitted besides

Features = np.ndarray


@dataclass(frozen=True)
class Measured:
    """What a model or a prior gives on one split."""

    metrics: Metrics
    features: Features | None  # of its samples


@dataclass(frozen=True)
class Trial:
    """A remedy and what it changed, measured."""

    key: str
    text: str
    command: str
    gain: float | None  # fall of the Frechet distance of samples, on validation images
    gain_error: float | None
    validation: Metrics
    test: Metrics
    error: str = ""  # why it could not be trained
    has_new_layers: bool = False  # that start untrained: a short trial shows too small a gain

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CurvePoint:
    """A run on the curve of distortion over rate."""

    beta: float
    metrics: Metrics
    is_run: bool = False  # the run itself, not trained further

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class TrialRunner:
    """Trains variants of a run on its own images, and measures them on others or the same."""

    run: Run
    model: Any
    images: Images  # to measure on
    training_images: Images
    space: FeatureSpace | None
    densities: dict[str, Density]
    steps: int
    num_images: int
    progress: StageProgress
    seed: int = 0
    _splits: dict[str, Images] = field(default_factory=dict)

    def try_remedies(self, remedies: Sequence[Remedy]) -> list[Trial]:
        """Measure each remedy that a short training or a fit can carry out; largest gain first."""
        own = {split: self._measure(self.model, split) for split in ("validation", "test")}
        chosen = _choose(remedies)
        trials = []
        for number, remedy in enumerate(chosen, 1):
            label = f"trial {number} of {len(chosen)}: {remedy.text}"
            with self.progress.stage(label):
                trials.append(self._try(remedy, own))
        return sorted(trials, key=lambda t: -np.inf if t.gain is None else -t.gain)

    def trace_curve(self) -> list[CurvePoint]:
        """Measure the run, and short trainings at several beta, on test images; by beta."""
        own = float(self.run.config["model"].get("beta", 1.0))
        points = [CurvePoint(own, self._measure(self.model, "test").metrics, is_run=True)]
        for number, factor in enumerate(BETA_FACTORS, 1):
            beta = float(f"{own * factor:.3g}")
            label = f"run {number} of {len(BETA_FACTORS)} of the curve: beta {beta:g}"
            with self.progress.stage(label):
                # not the folder of the remedy "longer": a trial may be of another length
                model = self._train(_name_curve_run(beta), {} if factor == 1 else {"beta": beta})
                points.append(CurvePoint(beta, self._measure(model, "test").metrics))
        return sorted(points, key=lambda point: point.beta)

    def _train(self, name: str, changes: dict[str, Any]) -> Any:
        folder = self.run.path / FOLDER / name
        device = self.model.device.type
        run = train_trial(self.run, self.training_images, changes, self.steps, folder, device)
        return run.load(resolve_device(device))

    def _try(self, remedy: Remedy, own: dict[str, Measured]) -> Trial:
        density = self.densities.get(remedy.prior)
        model, command = self.model, remedy.command
        if remedy.changes is not None:
            try:
                model = self._train(f"try-{remedy.key}", remedy.changes)
            except PinxitError as error:
                return Trial(remedy.key, remedy.text, command, None, None, {}, {}, str(error))
        measured = {split: self._measure(model, split, density) for split in own}
        gain = self._gain(own["validation"], measured["validation"])
        return Trial(
            remedy.key,
            remedy.text,
            command,
            None if gain is None else gain.value,
            None if gain is None or not np.isfinite(gain.error) else gain.error,
            measured["validation"].metrics,
            measured["test"].metrics,
            has_new_layers=has_new_layers(Run(self.run.path / FOLDER / f"try-{remedy.key}"))
            and remedy.changes is not None,
        )

    def _split(self, split: str) -> Images:
        """Images of a split; test images where there are no validation images."""
        if split not in self._splits:
            has_split = self.images.splits is not None and len(self.images.split_indices(split))
            labelled = match_labels(self.model, self.images)
            rows, _ = select_rows(labelled, split if has_split else "test")
            self._splits[split] = rows.evenly_spaced(self.num_images).load()
        return self._splits[split]

    def _measure(self, model: Any, split: str, density: Density | None = None) -> Measured:
        images, seed = self._split(split), self.seed
        shown = mean_observation(model, images, seed)
        terms = elbo_terms(model, images, seed)
        count = len(images)
        if density is None:
            samples = sample_with_label_frequencies(model, images, count, seed)
        else:
            samples = sample_from_density(model, density, count, seed, like=images)
        reference, decoded = power_spectrum(shown), model.reconstruct(images)
        values = {"distortion": estimate_mean(terms.distortion, images.groups)}
        if not has_point_posterior(model):
            values["rate"] = estimate_mean(terms.rate.sum(1), images.groups)
            values["elbo"] = estimate_mean(terms.elbo, images.groups)
        metrics = flatten(values)
        metrics["active_units"] = float(latent_activity(model, images, terms=terms).active.sum())
        for name, generated in (("reconstructions", decoded), ("samples", samples)):
            value = sharpness(power_spectrum(generated), reference)
            metrics[f"sharpness_{name}"] = value if np.isfinite(value) else None
        if self.space is None:
            return Measured(metrics, None)
        features = self.space.embed(samples)
        test = self.space.embed(shown)
        metrics |= flatten(
            {"frechet_samples": compare_distances(features, None, test, images.groups)}
        )
        return Measured(metrics, features)

    def _gain(self, own: Measured, other: Measured) -> Estimate | None:
        if self.space is None or own.features is None or other.features is None:
            return None
        images = self._split("validation")
        real = self.space.embed(mean_observation(self.model, images, self.seed))
        return compare_distances(own.features, other.features, real, images.groups)


def find_curve_run(run: Run, beta: float) -> Path:
    """Return the folder of a run of the curve.

    In earlier versions that at the run's own beta was the trial of longer training.
    """
    folder = run.path / FOLDER / _name_curve_run(beta)
    own = float(run.config["model"].get("beta") or 1.0)
    is_own = folder.name == _name_curve_run(own)
    return run.path / FOLDER / f"try-{LONGER}" if is_own and not folder.exists() else folder


def _name_curve_run(beta: float) -> str:
    return f"curve-beta-{beta:.3g}"


def _choose(remedies: Sequence[Remedy]) -> list[Remedy]:
    """Return the remedies to try: all fits, and the first few trainings."""
    trained = [r for r in remedies if r.changes is not None]
    control = [r for r in trained if not r.changes]
    others = [r for r in trained if r.changes]
    return [*(r for r in remedies if r.prior), *control, *others[: MAX_REMEDIES - len(control)]]


def compare_distances(
    a: Features, b: Features | None, real: Features, groups: np.ndarray | None = None
) -> Estimate:
    """Return F(a) - F(b), or F(a) without b: Frechet distances to real features.

    The error is by the jackknife over blocks of all sets at once.
    """
    real_blocks = assign_blocks(len(real), groups, NUM_BLOCKS)
    num_blocks = int(real_blocks.max()) + 1
    sides = [side for side in (a, b) if side is not None]

    def difference(distances: Iterator[float]) -> float:
        first, *rest = distances
        return first - sum(rest)

    true = fit_gaussian(real)
    value = difference(frechet_distance(fit_gaussian(side), true) for side in sides)
    left_out = [
        leave_out_gaussians(side, assign_blocks(len(side), None, num_blocks, seed=i))
        for i, side in enumerate(sides, 1)
    ]
    rows = zip(leave_out_gaussians(real, real_blocks), *left_out, strict=False)
    return jackknife_estimate(
        value,
        (difference(frechet_distance(side, true) for side in others) for true, *others in rows),
    )
