"""What a report is made from: a run, its model, its images, and what was measured of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import PinxitError
from pinxit.evaluation.reconstruction import mse_per_image
from pinxit.models.abilities import ABILITIES
from pinxit.runs import Run
from pinxit.sampling.inputs import for_model, run_images, sees_labels
from pinxit.sampling.latents import LatentActivity, gaussian_kl

if TYPE_CHECKING:
    from pinxit.models.results import Posterior
    from pinxit.sampling.elbo import ElboTerms

NUMBERS = 12_000_000  # pixels' values that are looked at: a report is made in seconds


@dataclass
class Material:
    """A run folder and what could be opened of it; what could not stands in `missing`."""

    run: Run
    model: Any = None  # None where there are no weights
    images: Images | None = None  # the whole data; None where it cannot be opened
    missing: list[str] = field(default_factory=list)
    umap: bool = False  # a second map, by UMAP

    def can(self, ability: str) -> bool:
        """Whether the model has an ability of the contract."""
        return isinstance(self.model, ABILITIES[ability])

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json, as `pinxit.evaluation.metrics` describes it."""
        return self.run.evaluation()

    @property
    def figures(self) -> dict[str, float]:
        return self.evaluation.get("metrics") or {}

    @cached_property
    def split(self) -> str:
        """The split that is looked at: test, or the next best that has images."""
        if self.images is None:
            return ""
        named = (s for s in ("test", "validation", "train") if len(self.images.split_indices(s)))
        return next(named, "all") if self.images.splits is not None else "all"

    @cached_property
    def seen(self) -> Images | None:
        """Images of that split, evenly from all of it, as many as can be looked at quickly."""
        if self.images is None:
            return None
        rows = self.images.split_indices(self.split)
        most = int(np.clip(NUMBERS // self.run.info.dims, 48, 1000))
        seen = self.images.take(rows[evenly_spaced_indices(len(rows), most)])
        return seen if self.model is None else for_model(self.model, seen)

    @cached_property
    def posterior(self) -> Posterior | None:
        """q(z given x) of `seen`."""
        if self.seen is None or not self.can("encode"):
            return None
        return self.model.encode(self.seen)

    @cached_property
    def elbo_terms(self) -> ElboTerms | None:
        """The two terms of the ELBO of `seen`, in nats."""
        if self.seen is None or not self.can("elbo"):
            return None
        from pinxit.sampling.elbo import elbo_terms

        return elbo_terms(self.model, self.seen)

    @cached_property
    def activity(self) -> LatentActivity | None:
        """What each latent does and costs over `seen`."""
        if self.posterior is None:
            return None
        rate = gaussian_kl(self.posterior) if self.elbo_terms is None else self.elbo_terms.rate
        return LatentActivity(self.posterior.mean.var(0), rate.mean(0))

    @cached_property
    def errors(self) -> np.ndarray | None:
        """Mean squared error of each reconstruction of `seen`, black being 0 and white 1."""
        if self.reconstructions is None or self.seen is None:
            return None
        return mse_per_image(self.seen, self.reconstructions)

    @cached_property
    def reconstructions(self) -> Images | None:
        """The images of `seen`, through the model and back."""
        if self.seen is None or not self.can("reconstruct"):
            return None
        return self.model.reconstruct(self.seen)

    @cached_property
    def samples(self) -> Images | None:
        """New images of seed 0, as many as `seen` has up to 256."""
        if not self.can("sample"):
            return None
        few = int(np.clip(NUMBERS // 4 // self.run.info.dims, 36, 256))
        return self.model.sample(few, seed=0)

    @cached_property
    def spectra(self) -> dict[str, Any]:
        """What is known of the sharpness: curves and figures of `evaluation.sharpness`."""
        curves = self.evaluation.get("curves") or {}
        if "spectrum_data" in curves:
            return {**curves, **self.figures}
        if self.seen is None or len(self.seen) < 2:
            return {}
        from pinxit.evaluation.power_spectrum import sharpness_metrics

        return dict(sharpness_metrics(self.seen, self.reconstructions, self._like_the_data()))

    def _like_the_data(self) -> Images | None:
        """Samples to hold against the data; labels that the model sees as often as there."""
        if not self.can("sample") or self.seen is None or self.samples is None:
            return None
        if not sees_labels(self.model):
            return self.samples
        from pinxit.sampling.label_matched import sample_with_label_frequencies

        return sample_with_label_frequencies(self.model, self.seen, len(self.samples), seed=0)

    @property
    def detail(self) -> dict[str, float]:
        """Power in the upper half of frequencies over the data's, of what the model makes."""
        kinds = ("reconstructions", "samples")
        found = {kind: self.spectra.get(f"sharpness_{kind}") for kind in kinds}
        return {kind: value for kind, value in found.items() if value is not None}


def open_material(run: Run, images: Images | None = None, *, umap: bool = False) -> Material:
    """All that can be opened of a run, with a line for whatever cannot.

    Raises UsageError where the folder is no run, PinxitError for UMAP that is not installed.
    """
    if umap and importlib.util.find_spec("umap") is None:
        raise PinxitError("UMAP needs umap-learn: pip install 'pinxit[umap]'")
    material = Material(run, images=images, umap=umap)
    run.config  # noqa: B018 (a folder that is no run says so)
    try:
        material.model = run.load()
    except PinxitError as error:
        material.missing.append(f"No weights: {error}")
    if images is None:
        try:
            material.images = run_images(run, progress=False)
        except PinxitError as error:
            material.missing.append(
                f"The images it learned from could not be opened ({error}) so nothing here "
                "is compared with them."
            )
    if not material.evaluation:
        material.missing.append(f"Not evaluated yet: run `pinxit evaluate {run.path}`.")
    return material
