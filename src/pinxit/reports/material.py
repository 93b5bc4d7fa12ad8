"""What a report is made from: a run, its model, its pictures, and what was measured of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.pictures import Pictures
from pinxit.errors import PinxitError
from pinxit.models.contract import ABILITIES
from pinxit.runs import Run

if TYPE_CHECKING:
    from pinxit.models.contract import Posterior

ACTIVE = 0.01  # of the variance over x of E[z given x], above which a latent is active (Burda 2015)
NUMBERS = 12_000_000  # pixels' values that are looked at: a report is made in seconds


@dataclass
class Material:
    """A run folder and what could be opened of it; what could not stands in `missing`."""

    run: Run
    model: Any = None  # None where there are no weights
    pictures: Pictures | None = None  # the whole data; None where it cannot be opened
    missing: list[str] = field(default_factory=list)
    umap: bool = False  # a second map, by UMAP

    def can(self, ability: str) -> bool:
        """Whether the model has an ability of the contract."""
        return isinstance(self.model, ABILITIES[ability])

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        return self.run.evaluation()

    @cached_property
    def figures(self) -> dict[str, float]:
        """The single numbers of evaluation.json, by name."""
        from pinxit.reports.tables import figures_of

        return figures_of(self.evaluation)

    @cached_property
    def split(self) -> str:
        """The split that is looked at: test, or the next best that has pictures."""
        if self.pictures is None:
            return ""
        named = (s for s in ("test", "validation", "train") if len(self.pictures.rows_of(s)))
        return next(named, "all") if self.pictures.splits is not None else "all"

    @cached_property
    def seen(self) -> Pictures | None:
        """Pictures of that split, evenly from all of it, as many as can be looked at quickly."""
        if self.pictures is None:
            return None
        rows = self.pictures.rows_of(self.split)
        most = int(np.clip(NUMBERS // self.run.facts.dims, 48, 1000))
        return self.pictures.take(evenly(rows, most))

    @cached_property
    def posterior(self) -> Posterior | None:
        """q(z given x) of `seen`."""
        if self.seen is None or not self.can("encode"):
            return None
        return self.model.encode(self.seen)

    @cached_property
    def bound(self) -> tuple[float, np.ndarray] | None:
        """-log p(x given z), and KL by latent `[latent]`, in nats, averaged over `seen`."""
        if self.seen is None or not self.can("elbo"):
            return None
        import torch

        rows = evenly(np.arange(len(self.seen)), 512)
        generator = torch.Generator().manual_seed(0)
        distortion, rate = 0.0, 0.0
        with torch.inference_mode():
            for chunk in np.array_split(rows, -(-len(rows) // 64)):
                batch = self.seen.batch(chunk)
                labels = None if self.labels_of(self.seen) is None else batch.labels
                terms = self.model.elbo(self.model.observe(batch, generator), labels, generator)
                distortion = distortion + terms.distortion.double().sum().item()
                rate = rate + terms.rate.double().sum(0).numpy()
        return distortion / len(rows), np.asarray(rate) / len(rows)

    @property
    def rates(self) -> np.ndarray | None:
        """KL by latent in nats, `[latent]`."""
        return None if self.bound is None else self.bound[1]

    @cached_property
    def reconstructions(self) -> Pictures | None:
        """The pictures of `seen`, through the model and back."""
        if self.seen is None or not self.can("reconstruct"):
            return None
        return self.model.reconstruct(self.seen)

    @cached_property
    def samples(self) -> Pictures | None:
        """New pictures of seed 0, as many as `seen` has up to 256."""
        if not self.can("sample"):
            return None
        few = int(np.clip(NUMBERS // 4 // self.run.facts.dims, 36, 256))
        return self.model.sample(few, seed=0)

    @cached_property
    def detail(self) -> dict[str, float] | None:
        return None

    def labels_of(self, pictures: Pictures) -> np.ndarray | None:
        """Labels to decode with, for a model that sees them."""
        conditional = getattr(self.model.config, "condition", "none") == "label"
        return pictures.labels if conditional else None


def open_material(run: Run, pictures: Pictures | None = None, *, umap: bool = False) -> Material:
    """All that can be opened of a run, with a line for whatever cannot.

    Raises UsageError where the folder is no run, PinxitError for UMAP that is not installed.
    """
    if umap and importlib.util.find_spec("umap") is None:
        raise PinxitError("UMAP needs umap-learn: pip install 'pinxit[umap]'")
    material = Material(run, pictures=pictures, umap=umap)
    run.config  # noqa: B018 (a folder that is no run says so)
    try:
        material.model = run.load()
    except PinxitError as error:
        material.missing.append(f"No weights: {error}")
    if pictures is None:
        try:
            material.pictures = _open_data(run)
        except PinxitError as error:
            material.missing.append(
                f"The pictures it learned from could not be opened ({error}) so nothing here "
                "is compared with them."
            )
    if not material.evaluation:
        material.missing.append(f"Not evaluated yet: run `pinxit evaluate {run.path}`.")
    return material


def _open_data(run: Run) -> Pictures:
    from pinxit.data.load import load_pictures

    record = run.config.get("data") or {}
    if not record.get("source"):
        raise PinxitError("config.json names no source.")
    options = {k: record[k] for k in ("size", "fit", "color", "limit", "seed") if record.get(k)}
    pictures = load_pictures(record["source"], **options, progress=False)
    facts = run.facts
    if pictures.pixels.shape[1:] != (facts.height, facts.width, facts.channels):
        raise PinxitError(f"{record['source']} now has pictures of another size.")
    return pictures


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, at even distances, in their order."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
