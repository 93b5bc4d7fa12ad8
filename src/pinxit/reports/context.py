"""The data of a report: a run, its model, its images, and measurements of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.skipped import summarize_skipped, without_system_files
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.latents import collapse_warnings
from pinxit.evaluation.metrics import collect
from pinxit.evaluation.power_spectrum import sharpness_metrics
from pinxit.evaluation.reconstruction import mse_per_image
from pinxit.extras import require_extra
from pinxit.models.generation import preview_options
from pinxit.models.protocols import (
    CanEncode,
    CanReconstruct,
    CanSample,
    HasELBO,
    Model,
)
from pinxit.models.results import LatentPosterior
from pinxit.runs import Run
from pinxit.sampling.elbo import ElboTerms, elbo_terms
from pinxit.sampling.inputs import is_label_conditional, load_run_data, match_labels
from pinxit.sampling.label_matched import sample_with_label_frequencies
from pinxit.sampling.latents import LatentActivity, latent_activity
from pinxit.sampling.observation import comparable_images
from pinxit.training.undertraining import is_undertrained, undertraining_warnings
from pinxit.training.verdict import Verdict, assess

MIN_DISTANCE_TO_LIMIT = 1.0  # nats, for I(x; z) to be more than a bound
MIN_SAMPLES, MAX_SAMPLES = 36, 256
MORE_SAMPLES_SECONDS = 3.0  # for those beyond the least
MAX_PIXEL_VALUES = 12_000_000  # pixel values that a report processes, so that it takes seconds


@dataclass
class ReportContext:
    """A run with its model and images; `missing` has a line for each that cannot be opened.

    All measurements are lazy and cached: a section that is not shown costs nothing. A measurement
    is None if the data is missing or the model lacks the ability.
    """

    run: Run
    model: Model | None = None  # None: no weights
    images: Images | None = None  # the run's data; None: could not be opened
    missing: list[str] = field(default_factory=list)
    umap: bool = False  # add a map of the latents by UMAP
    live: bool = False  # add the decoder, to run in the page

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """The content of evaluation.json; empty before `pinxit evaluate`."""
        return dict(self.run.evaluation())

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of evaluation.json, counts and settings included."""
        return (self.evaluation.get("metrics") or {}) | (self.evaluation.get("facts") or {})

    @property
    def curves(self) -> dict[str, list[float]]:
        """The curves of evaluation.json."""
        return self.evaluation.get("curves") or {}

    @property
    def model_options(self) -> dict[str, Any]:
        """The model's options in config.json."""
        return self.run.config["model"]

    @cached_property
    def split(self) -> str:
        """The split that the report measures: test, else validation, else train, else "all"."""
        if self.images is None:
            return ""
        if self.images.splits is None:
            return "all"
        names = ("test", "validation", "train")
        return next((name for name in names if len(self.images.split_indices(name))), "all")

    @cached_property
    def subset(self) -> Images | None:
        """48 to 1,000 evenly spaced images of `split`, on which the report measures."""
        if self.images is None:
            return None
        rows = self.images.split_indices(self.split)
        count = self.choose_num_images(1, 48, 1000)
        subset = self.images.take(rows[evenly_spaced_indices(len(rows), count)])
        return subset if self.model is None else match_labels(self.model, subset)

    def choose_num_images(self, cost: int, low: int, high: int) -> int:
        """Return the number of images to process, `low` to `high`; `cost`: passes per image."""
        return int(np.clip(MAX_PIXEL_VALUES // cost // self.run.info.dims, low, high))

    @cached_property
    def posterior(self) -> LatentPosterior | None:
        """q(z|x) of `subset`."""
        if self.subset is None or not isinstance(self.model, CanEncode):
            return None
        return self.model.encode(self.subset).flatten()

    @cached_property
    def elbo_terms(self) -> ElboTerms | None:
        """Reconstruction and KL terms of `subset`, in nats per image."""
        if self.subset is None or not isinstance(self.model, HasELBO):
            return None
        return elbo_terms(self.model, self.subset)

    @cached_property
    def activity(self) -> LatentActivity | None:
        """Variance of the posterior mean and KL of each latent over `subset`."""
        if self.posterior is None:
            return None
        assert self.subset is not None, "encoded"
        assert isinstance(self.model, CanEncode)
        return latent_activity(self.model, self.subset, self.posterior, self.elbo_terms)

    @cached_property
    def is_undertrained(self) -> bool:
        """Whether the run was trained too briefly for its metrics to describe the model."""
        return is_undertrained(self.run)

    @cached_property
    def collapse_warnings(self) -> list[str]:
        """Signs that the latents are not used."""
        if self.activity is None:
            return []
        images, decoded, short = self.subset, self.reconstructions, self.is_undertrained
        return list(collapse_warnings(self.activity, images, decoded, undertrained=short))

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict on the run, from evaluation.json or else from what the report measures."""
        return assess(self.run, self.evaluation or self._as_evaluation())

    @property
    def measures_mutual_information(self) -> bool:
        """Whether I(x; z) was measured far below log n, the most that n images can show."""
        surgery = (self.evaluation.get("protocol") or {}).get("elbo_surgery") or {}
        limit = surgery.get("upper_limit_of_mutual_information", math.inf)
        return self.metrics.get("mutual_information", math.inf) < limit - MIN_DISTANCE_TO_LIMIT

    def _as_evaluation(self) -> dict[str, Any]:
        if self.activity is None:
            return {}
        metrics: dict[str, float] = {"active_units": int(self.activity.active.sum())}
        if self.activity.total_rate is not None:
            metrics["rate"] = self.activity.total_rate
        return {"metrics": metrics, "warnings": self.collapse_warnings}

    @property
    def quality_warnings(self) -> list[str]:
        """Reasons not to rely on the metrics of the run; empty for a sound run."""
        return undertraining_warnings(self.run) + self.collapse_warnings

    @property
    def warnings(self) -> list[str]:
        """What the reader should know before everything else: quality, and files left out."""
        skipped = [] if self.images is None else without_system_files(self.images.skipped)
        if self.images is None or not skipped:
            return self.quality_warnings
        lines = [f"{self.images.source}: {line}" for line in summarize_skipped(skipped)]
        return [*self.quality_warnings, *lines]

    @cached_property
    def reconstructions(self) -> Images | None:
        """The images of `subset`, encoded and decoded."""
        if self.subset is None or not isinstance(self.model, CanReconstruct):
            return None
        return self.model.reconstruct(self.subset)

    @cached_property
    def reconstruction_mse(self) -> np.ndarray | None:
        """Mean squared error of each reconstruction, `[n]`, pixel values in [0, 1]."""
        if self.reconstructions is None or self.subset is None:
            return None
        return mse_per_image(self.subset, self.reconstructions)

    @cached_property
    def samples(self) -> Images | None:
        """36 to 256 samples from seed 0, the fewer the slower the model is."""
        if not isinstance(self.model, CanSample):
            return None
        most = self.choose_num_images(4, MIN_SAMPLES, MAX_SAMPLES)
        return _sample_in_time(self.model, most, **preview_options(self.model))

    @cached_property
    def spectra(self) -> dict[str, Any]:
        """Power spectra and sharpness: those of evaluation.json, else measured on `subset`."""
        if "spectrum_data" in self.curves:
            return {**self.curves, **self.metrics}
        if self.subset is None or len(self.subset) < 2:
            return {}
        decoded, samples = self.reconstructions, self._sample_like_subset()
        generated = decoded if samples is None else samples
        if generated is None:
            return {}
        images = comparable_images(self.model, self.subset, generated)
        measured = collect(sharpness_metrics(images, decoded, samples))
        return {**measured.curves, **measured.metrics}

    def _sample_like_subset(self) -> Images | None:
        if self.subset is None or self.samples is None:
            return None
        if not isinstance(self.model, CanSample) or not is_label_conditional(self.model):
            return self.samples
        options = preview_options(self.model)
        return sample_with_label_frequencies(
            self.model, self.subset, len(self.samples), seed=0, **options
        )

    @property
    def sharpness(self) -> dict[str, float]:
        """Power in the upper half of frequencies relative to the data, by kind of image."""
        kinds = ("reconstructions", "samples")
        values = {kind: self.spectra.get(f"sharpness_{kind}") for kind in kinds}
        return {kind: value for kind, value in values.items() if value is not None}


def _sample_in_time(model: CanSample, most: int, **options: Any) -> Images:
    """Return `MIN_SAMPLES` samples, and up to `most` while they take `MORE_SAMPLES_SECONDS`."""
    start = time.perf_counter()
    first = model.sample(MIN_SAMPLES, seed=0, **options)
    affordable = MORE_SAMPLES_SECONDS / max(time.perf_counter() - start, 1e-6) * MIN_SAMPLES
    num_more = min(most - MIN_SAMPLES, int(affordable))
    if num_more < 1:
        return first
    more = model.sample(num_more, seed=0, start=MIN_SAMPLES, **options)
    return Images.concatenate([first, more])


def load_context(
    run: Run, images: Images | None = None, *, umap: bool = False, live: bool = False
) -> ReportContext:
    """Open a run, with its model and images if possible.

    Raises UsageError if the folder is not a run, and for `live` if the model decodes no latents;
    PinxitError if an extra is not installed.
    """
    if umap:
        require_extra("umap", "--umap")
    if live:
        require_extra("export", "--live")
    run.check()
    context = ReportContext(run, images=images, umap=umap, live=live)
    _load_model(context)
    if live and context.model is not None and not isinstance(context.model, CanEncode):
        raise UsageError(f"--live shows the decoder of latents, and a {run.family} run has none.")
    if images is None:
        _load_images(context)
    if context.model is not None and not context.evaluation:
        context.missing.append(f"Not evaluated yet. Run `pinxit evaluate {run.shell_path}`.")
    return context


def _load_model(context: ReportContext) -> None:
    try:
        context.model = context.run.load()
    except PinxitError as error:
        context.missing.append(f"No weights: {error}")


def _load_images(context: ReportContext) -> None:
    try:
        context.images = load_run_data(context.run, progress=False)
    except PinxitError as error:
        context.missing.append(
            f"The training data could not be opened ({error}), so nothing in this report is "
            "compared with it."
        )
