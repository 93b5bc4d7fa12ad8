"""`evaluate`: every figure that a run's model and its data allow, with how it was measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.console import StageProgress
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.evaluation.metrics import MetricValue, collect
from pinxit.models.abilities import ABILITIES, require
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import HasPalette
from pinxit.runs import Run

if TYPE_CHECKING:
    from pinxit.evaluation.retrieval import Embed
    from pinxit.sampling.elbo import Bound

MOST = 10_000  # test images that are looked at
MADE = 5_000  # images on each side of a distance
PROBED = 10_000  # training images of a probe
EXACT = 2_000  # images whose likelihood is exact, where no limit is given
COMPLETED = 512  # images that are completed
DRAWN = 512  # captions that are drawn, images that are edited or put in words


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, and how closely."""

    importance_samples: int = 5_000  # 0: no importance-weighted likelihood
    limit: int | None = None  # test images for it; None: about a minute of work on two cores
    count: int = MADE  # images on each side of a distance, at most
    distances: bool = True
    fid: bool = False
    seed: int = 0
    probe: int = PROBED  # training images that a probe learns from; 0: none
    features: Path | None = None  # a run whose encoder is the feature space of the distances
    temperature: float | None = None  # of images painted from words; None: 1, of edits 0
    guidance: float = 1.0
    top_p: float | None = None
    best_of: int = 1
    reranker: Path | None = None  # a run that captions, which chooses among the tries

    def __post_init__(self) -> None:
        if self.importance_samples < 0:
            raise UsageError(f"importance samples are 0 or more, not {self.importance_samples}.")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit is a number of images, 1 or more, not {self.limit}.")
        if self.probe < 0:
            raise UsageError(f"a probe learns from 0 images or more, not {self.probe}.")
        if self.count < 2:
            raise UsageError(f"distances need 2 images or more, not {self.count}.")


@dataclass
class Assessment:
    """A model, the images it is judged by, and what is found; each stage yields its figures."""

    model: Any
    images: Images  # the whole data: its training split teaches the feature space
    wanted: Wanted
    teller: StageProgress
    protocol: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def figures(self) -> Iterator[MetricValue]:
        """All that can be measured."""
        if self.can("elbo"):
            yield from self.likelihood()
        elif self.can("score"):
            yield from self.exact()
        if self.can("encode"):
            yield from self.latents()
        if self.can("tokenize"):
            from pinxit.evaluation.codebook_usage import code_figures

            yield from code_figures(self.model, self.test)
        yield from self.worded()
        yield from self.detail()
        if self.can("complete"):
            yield from self.completion()
        if self.can("embed") and self.wanted.probe:
            yield from self.probe()
        if self.wanted.distances:
            yield from self.distances()

    def can(self, ability: str) -> bool:
        return isinstance(self.model, ABILITIES[ability])

    @cached_property
    def test(self) -> Images:
        """The test split, at most 10,000 of it."""
        from pinxit.sampling.inputs import evenly_spaced, for_model, held_out

        found, warning = held_out(self.images)
        self.warnings += [warning] if warning else []
        self.protocol["split"] = "all, there being no test split" if warning else "test"
        found = evenly_spaced(for_model(self.model, found), MOST)
        self.protocol["test_images"] = len(found)
        return found

    @cached_property
    def reconstructions(self) -> Images | None:
        if not self.can("reconstruct"):
            return None
        with self.teller.stage("reconstructions"):
            return self.model.reconstruct(self.test)

    @cached_property
    def samples(self) -> Images | None:
        """As many as distances want, of each label as often as the test images have it."""
        from pinxit.sampling.label_matched import draw_like

        if self.can("draw"):
            return self.drawn
        if not self.can("sample"):
            return None
        count = min(self.wanted.count, len(self.test))
        self.protocol["samples"] = count
        with self.teller.stage(f"{count:,} samples"):
            return draw_like(self.model, self.test, count, self.wanted.seed)

    @cached_property
    def told(self) -> tuple[Images, list[str]]:
        """Test images with words, and a caption of each, its languages in turn."""
        from pinxit.data.captions import captions_round_robin
        from pinxit.sampling.inputs import evenly_spaced

        few = evenly_spaced(self.test, min(self.wanted.limit or DRAWN, self.wanted.count))
        rows, texts = captions_round_robin(few, self.model.text_tokenizer.languages)
        if not texts:
            raise PinxitError("the test images have no captions in a language of the model.")
        self.protocol["captions"] = len(texts)
        return few.take(rows), texts

    @cached_property
    def known(self) -> Images:
        """Training images among which a nearest neighbour is looked for."""
        from pinxit.data.contact_sheet import evenly_spaced_indices
        from pinxit.evaluation.sample_quality import MEMORY

        if self.images.splits is None:
            return self.images[:0]
        rows = self.images.split_indices("train")
        return self.images.take(rows[evenly_spaced_indices(len(rows), MEMORY)])

    @cached_property
    def drawn(self) -> Images:
        """An image for each caption; of a model that edits, for each image before the edit."""
        asked, texts = self.told
        wanted = self.wanted
        params = GenerationParams(
            seed=wanted.seed,
            temperature=wanted.temperature,
            guidance=wanted.guidance,
            top_p=wanted.top_p,
            best_of=wanted.best_of,
            reranker=wanted.reranker and require(Run(wanted.reranker).load(), "caption"),
        )
        self.protocol["generation"] = {
            **params.changed(),
            "seed": wanted.seed,
            "reranker": wanted.reranker and str(wanted.reranker),
        }
        with self.teller.stage(f"drawing {len(texts):,} captions"):
            if self.can("draw"):
                return self.model.draw(texts, params)
            assert asked.before is not None
            return self.model.edit(Images(asked.before), texts, params)

    def worded(self) -> Iterator[MetricValue]:
        """Images of words, and words of images."""
        from pinxit.evaluation import captioning, editing, text_to_image

        if self.can("draw"):
            yield from text_to_image.drawing_figures(self.drawn, self.told[0])
        if self.can("edit"):
            if self.test.before is None:
                raise PinxitError("these are no pairs of images; edits are judged by pairs.")
            yield from editing.editing_figures(self.drawn, self.told[0])
        if self.can("caption"):
            with self.teller.stage(f"captions of {len(self.told[0]):,} images"):
                found = list(captioning.captioning_figures(self.model, self.told[0], self.known))
            self.warnings += captioning.all_alike(dict(found))
            yield from found
        if self.can("translate"):
            with self.teller.stage(f"translations of {len(self.told[0]):,} captions"):
                yield from captioning.translating_figures(self.model, self.told[0])

    @cached_property
    def bound(self) -> Bound:
        from pinxit.sampling.elbo import bound

        with self.teller.stage(f"ELBO of {len(self.test):,} images") as told:
            return bound(self.model, self.test, self.wanted.seed, told)

    def likelihood(self) -> Iterator[MetricValue]:
        """The ELBO of all test images, and the importance-weighted estimate of some."""
        from pinxit.evaluation import likelihood as measure

        self.protocol["likelihood"] = self.model.likelihood_description
        yield from measure.bound_figures(self.model, self.bound)
        k = self.wanted.importance_samples
        if k == 0:
            return
        few = measure.chosen(self.model, self.test, k, self.wanted.limit)
        self.protocol["importance"] = {"samples": k, "images": len(few)}
        with self.teller.stage(f"likelihood of {len(few):,} images, {k:,} samples each") as told:
            found = list(measure.importance_figures(self.model, few, k, self.wanted.seed, told))
        self.warnings += measure.loose(dict(found), k)
        yield from found

    def exact(self) -> Iterator[MetricValue]:
        """The log-likelihood of a model that gives it exactly."""
        from pinxit.evaluation.likelihood import exact_figures
        from pinxit.sampling.inputs import evenly_spaced

        few = evenly_spaced(self.test, self.wanted.limit or EXACT)
        self.protocol["likelihood"] = (
            f"exact, of {len(few):,} images; {self.model.likelihood_description}"
        )
        with self.teller.stage(f"likelihood of {len(few):,} images"):
            try:
                yield from exact_figures(self.model, few, self.wanted.seed)
            except PinxitError as error:  # of this family, but trained to another end
                self.warnings.append(f"no likelihood: {error}")

    def latents(self) -> Iterator[MetricValue]:
        """KL by latent, active units; a warning where the latents are not used."""
        from pinxit.evaluation.latents import collapse, latent_figures
        from pinxit.sampling.latents import Activity, activity, encoded

        posterior = encoded(self.model, self.test)
        if self.can("elbo"):
            found = Activity(posterior.mean.var(0), self.bound.rate.mean(0))
        else:
            found = activity(self.model, self.test, posterior)
        self.warnings += collapse(found, self.test, self.reconstructions)
        yield from latent_figures(found)

    def detail(self) -> Iterator[MetricValue]:
        """Error of the reconstructions; sharpness of reconstructions and samples."""
        from pinxit.evaluation.power_spectrum import sharpness_figures
        from pinxit.evaluation.reconstruction import reconstruction_figures

        if self.reconstructions is not None:
            with self.teller.stage("PSNR and SSIM"):
                yield from reconstruction_figures(self.test, self.reconstructions)
        if isinstance(self.model, HasPalette) and not self.model.palette_is_exact:
            yield "palette_psnr", self.model.palette_psnr(self.test)
        if self.reconstructions is not None or self.samples is not None:
            yield from sharpness_figures(self.test, self.reconstructions, self.samples)

    def completion(self) -> Iterator[MetricValue]:
        """Error of completed images by how much is missing."""
        from pinxit.evaluation.inpainting import completion_figures
        from pinxit.sampling.inputs import evenly_spaced

        few = evenly_spaced(self.test, COMPLETED)
        with self.teller.stage("completions"):
            yield from completion_figures(self.model, few, self.wanted.seed)

    def probe(self) -> Iterator[MetricValue]:
        """What the features know of the labels, where there are any."""
        from pinxit.evaluation.linear_probe import labelled, probe_figures

        train = labelled(self.images.split("train"), self.wanted.probe)
        test = labelled(self.test, MOST)
        if train is None or test is None or self.images.splits is None:
            return
        with self.teller.stage(f"linear probe on {len(train):,} images"):
            yield from probe_figures(self.model, train, test)

    def distances(self) -> Iterator[MetricValue]:
        """Frechet distances, neighbourhoods and copies, in the data's own feature space."""
        from pinxit.evaluation.feature_space import (
            FEWEST,
            FeatureSpace,
            encoder_space,
            feature_space,
        )
        from pinxit.evaluation.sample_quality import Comparison
        from pinxit.evaluation.text_to_image import label_figures

        made = {"samples": self.samples, "reconstructions": self.reconstructions}
        made = {name: images for name, images in made.items() if images is not None}
        if not made:
            return
        if len(self.test) < FEWEST:
            self.warnings.append(f"no distances: {len(self.test)} test images are too few")
            return
        with self.teller.stage("feature space") as told:
            features = self.wanted.features
            space = encoder_space(features) if features else feature_space(self.images, told)
        self.protocol["feature_space"] = space.facts
        if self.can("draw"):
            yield from self.looked_up(space.embed)
        if self.can("draw") and isinstance(space, FeatureSpace):
            yield from label_figures(space, self.drawn, self.told[0])
        with self.teller.stage("distances"):
            comparison = Comparison(space, self.images, self.test, self.wanted.count)
            self.protocol["distances"] = comparison.counts()
            yield from comparison.figures(made)
        if self.wanted.fid and self.samples is not None:
            from pinxit.evaluation.fid import fid

            with self.teller.stage("FID"):
                yield "fid_samples", fid(self.samples, self.test)

    def looked_up(self, embed: Embed) -> Iterator[MetricValue]:
        """Whether a drawn image is nearest to the true one, and what looking up reaches."""
        from pinxit.evaluation.retrieval import looking_up_figures

        yield from looking_up_figures(embed, self.drawn, *self.told, self.known)


def evaluate(
    run: Run | str | Path,
    data: str | Path | Sequence[str | Path] | Images | None = None,
    *,
    importance_samples: int = 5_000,
    limit: int | None = None,
    count: int = MADE,
    distances: bool = True,
    fid: bool = False,
    probe: int = PROBED,
    features: str | Path | None = None,
    temperature: float | None = None,
    guidance: float = 1.0,
    top_p: float | None = None,
    best_of: int = 1,
    reranker: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
    write: bool = True,
) -> dict[str, Any]:
    """How good a run is, on the test split of its data, or of `data`: evaluation.json's content.

    `figures` {name: number}, `curves` {name: numbers}, `protocol`, `warnings`; see
    `pinxit.evaluation.metrics`. `limit` is how many test images the importance-weighted
    likelihood takes (None: about a minute's work of two cores), `probe` how many training
    images a linear probe on the features learns from (0: none); `features` is a run whose frozen
    encoder is the feature space of the distances (None: a small network, learned once for a data
    set). `temperature` (None: 1, of edits 0), `guidance`, `top_p`, `best_of` and `reranker` (a
    captioning run) are how images are generated from text. Figures are the same for a seed.

    Raises UsageError for bad numbers, PinxitError where the run or the data cannot be read.
    """
    space = None if features is None else Path(features)
    wanted = Wanted(
        importance_samples, limit, count, distances, fid, seed, probe, space,
        temperature, guidance, top_p, best_of, None if reranker is None else Path(reranker),
    )  # fmt: skip
    run = run if isinstance(run, Run) else Run(Path(run))
    run.config  # noqa: B018 (a folder that is no run says so before torch is imported)
    from pinxit.evaluation.provenance import circumstances
    from pinxit.sampling.inputs import given_images, run_images

    begun = time.monotonic()
    if space is not None:
        Run(space).config  # noqa: B018 (before any work)
    if data is None:
        images = run_images(run, progress=progress)
    else:
        images = given_images(run, [data] if isinstance(data, str | Path) else data)
    model = run.load(device or _device())
    with StageProgress(progress) as teller:
        judged = Assessment(model, images, wanted, teller)
        judged.warnings += _changed(run, images) if data is None else []
        judged.protocol.update(data=images.source, fingerprint=images.fingerprint, seed=seed)
        figures, curves = collect(judged.figures())
    if not figures:
        raise PinxitError(f"there is nothing to measure of a run of the family '{run.family}'.")
    judged.protocol.update(circumstances(next(model.parameters()).device))
    judged.protocol["seconds"] = round(time.monotonic() - begun, 1)
    found = {
        "metrics": figures,
        "curves": curves,
        "protocol": judged.protocol,
        "warnings": judged.warnings,
    }
    if write:
        run.write("evaluation.json", found)
    return found


def _changed(run: Run, images: Images) -> list[str]:
    """A line where the run's data is not what it learned from any more."""
    learned = (run.config.get("data") or {}).get("fingerprint")
    if not learned or learned == images.fingerprint:
        return []
    return [f"{images.source} has changed since the run learned from it: its splits may differ"]


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
