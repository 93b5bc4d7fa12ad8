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
from pinxit.errors import PinxitError
from pinxit.evaluation.metrics import MetricValue, collect
from pinxit.evaluation.options import EvalOptions, resolve_options
from pinxit.models.abilities import ABILITIES
from pinxit.models.protocols import HasPalette
from pinxit.runs import Run, run_of

if TYPE_CHECKING:
    from pinxit.evaluation.retrieval import Embed
    from pinxit.sampling.elbo import ElboTerms

MOST = 10_000  # test images that are looked at
EXACT = 2_000  # images whose likelihood is exact, where no limit is given
COMPLETED = 512  # images that are completed
DRAWN = 512  # captions that are drawn, images that are edited or put in words


@dataclass
class Assessment:
    """A model, the images it is judged by, and what is found; each stage yields its figures."""

    model: Any
    images: Images  # the whole data: its training split teaches the feature space
    options: EvalOptions
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
            from pinxit.evaluation.codebook_usage import codebook_metrics

            yield from codebook_metrics(self.model, self.test)
        yield from self.worded()
        yield from self.detail()
        if self.can("complete"):
            yield from self.completion()
        if self.can("embed") and self.options.probe_train_size:
            yield from self.probe()
        if self.options.distances:
            yield from self.distances()

    def can(self, ability: str) -> bool:
        return isinstance(self.model, ABILITIES[ability])

    @cached_property
    def test(self) -> Images:
        """The test split, at most 10,000 of it."""
        from pinxit.sampling.inputs import match_labels, select_test_split

        found, warning = select_test_split(self.images)
        self.warnings += [warning] if warning else []
        self.protocol["split"] = "all, there being no test split" if warning else "test"
        found = match_labels(self.model, found).evenly_spaced(MOST)
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
        from pinxit.sampling.label_matched import sample_with_label_frequencies

        if self.can("draw"):
            return self.drawn
        if not self.can("sample"):
            return None
        count = min(self.options.max_images, len(self.test))
        self.protocol["samples"] = count
        with self.teller.stage(f"{count:,} samples"):
            return sample_with_label_frequencies(self.model, self.test, count, self.options.seed)

    @cached_property
    def told(self) -> tuple[Images, list[str]]:
        """Test images with words, and a caption of each, its languages in turn."""
        from pinxit.data.captions import captions_round_robin

        few = self.test.evenly_spaced(
            min(self.options.likelihood_images or DRAWN, self.options.max_images)
        )
        rows, texts = captions_round_robin(few, self.model.text_tokenizer.languages)
        if not texts:
            raise PinxitError("the test images have no captions in a language of the model.")
        self.protocol["captions"] = len(texts)
        return few.take(rows), texts

    @cached_property
    def known(self) -> Images:
        """Training images among which a nearest neighbour is looked for."""
        from pinxit.data.images import evenly_spaced_indices
        from pinxit.evaluation.sample_quality import MAX_TRAIN_IMAGES

        if self.images.splits is None:
            return self.images[:0]
        rows = self.images.split_indices("train")
        return self.images.take(rows[evenly_spaced_indices(len(rows), MAX_TRAIN_IMAGES)])

    @cached_property
    def drawn(self) -> Images:
        """An image for each caption; of a model that edits, for each image before the edit."""
        asked, texts = self.told
        params = self.options.generation
        reranker = run_of(params.reranker)
        self.protocol["generation"] = {
            **params.overrides(),
            "seed": params.seed,
            "reranker": None if reranker is None else str(reranker.path),
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
            yield from text_to_image.text_to_image_metrics(self.drawn, self.told[0])
        if self.can("edit"):
            if self.test.before is None:
                raise PinxitError("these are no pairs of images; edits are judged by pairs.")
            yield from editing.edit_metrics(self.drawn, self.told[0])
        if self.can("caption"):
            with self.teller.stage(f"captions of {len(self.told[0]):,} images"):
                found = list(captioning.captioning_metrics(self.model, self.told[0], self.known))
            self.warnings += captioning.repetition_warnings(dict(found))
            yield from found
        if self.can("translate"):
            with self.teller.stage(f"translations of {len(self.told[0]):,} captions"):
                yield from captioning.translation_metrics(self.model, self.told[0])

    @cached_property
    def elbo_terms(self) -> ElboTerms:
        from pinxit.sampling.elbo import elbo_terms

        with self.teller.stage(f"ELBO of {len(self.test):,} images") as told:
            return elbo_terms(self.model, self.test, self.options.seed, told)

    def likelihood(self) -> Iterator[MetricValue]:
        """The ELBO of all test images, and the importance-weighted estimate of some."""
        from pinxit.evaluation import likelihood as measure

        self.protocol["likelihood"] = self.model.likelihood_description
        yield from measure.elbo_metrics(self.model, self.elbo_terms)
        k = self.options.iw_samples
        if k == 0:
            return
        few = measure.select_images(self.model, self.test, k, self.options.likelihood_images)
        self.protocol["importance"] = {"samples": k, "images": len(few)}
        with self.teller.stage(f"likelihood of {len(few):,} images, {k:,} samples each") as told:
            found = list(measure.iw_metrics(self.model, few, k, self.options.seed, told))
        self.warnings += measure.ess_warnings(dict(found), k)
        yield from found

    def exact(self) -> Iterator[MetricValue]:
        """The log-likelihood of a model that gives it exactly."""
        from pinxit.evaluation.likelihood import exact_likelihood_metrics

        few = self.test.evenly_spaced(self.options.likelihood_images or EXACT)
        self.protocol["likelihood"] = (
            f"exact, of {len(few):,} images; {self.model.likelihood_description}"
        )
        with self.teller.stage(f"likelihood of {len(few):,} images"):
            try:
                yield from exact_likelihood_metrics(self.model, few, self.options.seed)
            except PinxitError as error:  # of this family, but trained to another end
                self.warnings.append(f"no likelihood: {error}")

    def latents(self) -> Iterator[MetricValue]:
        """KL by latent, active units; a warning where the latents are not used."""
        from pinxit.evaluation.latents import collapse_warnings, latent_metrics
        from pinxit.sampling.latents import LatentActivity, encoded, latent_activity

        posterior = encoded(self.model, self.test)
        if self.can("elbo"):
            found = LatentActivity(posterior.mean.var(0), self.elbo_terms.rate.mean(0))
        else:
            found = latent_activity(self.model, self.test, posterior)
        self.warnings += collapse_warnings(found, self.test, self.reconstructions)
        yield from latent_metrics(found)

    def detail(self) -> Iterator[MetricValue]:
        """Error of the reconstructions; sharpness of reconstructions and samples."""
        from pinxit.evaluation.power_spectrum import sharpness_metrics
        from pinxit.evaluation.reconstruction import reconstruction_metrics

        if self.reconstructions is not None:
            with self.teller.stage("PSNR and SSIM"):
                yield from reconstruction_metrics(self.test, self.reconstructions)
        if isinstance(self.model, HasPalette) and not self.model.palette_is_exact:
            yield "palette_psnr", self.model.palette_psnr(self.test)
        if self.reconstructions is not None or self.samples is not None:
            yield from sharpness_metrics(self.test, self.reconstructions, self.samples)

    def completion(self) -> Iterator[MetricValue]:
        """Error of completed images by how much is missing."""
        from pinxit.evaluation.inpainting import inpainting_metrics

        few = self.test.evenly_spaced(COMPLETED)
        with self.teller.stage("completions"):
            yield from inpainting_metrics(self.model, few, self.options.seed)

    def probe(self) -> Iterator[MetricValue]:
        """What the features know of the labels, where there are any."""
        from pinxit.evaluation.linear_probe import probe_metrics, select_labelled

        train = select_labelled(self.images.split("train"), self.options.probe_train_size)
        test = select_labelled(self.test, MOST)
        if train is None or test is None or self.images.splits is None:
            return
        with self.teller.stage(f"linear probe on {len(train):,} images"):
            yield from probe_metrics(self.model, train, test)

    def distances(self) -> Iterator[MetricValue]:
        """Frechet distances, neighbourhoods and copies, in the data's own feature space."""
        from pinxit.evaluation.feature_space import (
            MIN_IMAGES,
            FeatureSpace,
            get_encoder_space,
            get_feature_space,
        )
        from pinxit.evaluation.sample_quality import SampleQuality
        from pinxit.evaluation.text_to_image import label_accuracy_metrics

        made = {"samples": self.samples, "reconstructions": self.reconstructions}
        made = {name: images for name, images in made.items() if images is not None}
        if not made:
            return
        if len(self.test) < MIN_IMAGES:
            self.warnings.append(f"no distances: {len(self.test)} test images are too few")
            return
        with self.teller.stage("feature space") as told:
            features = self.options.feature_run
            space = (
                get_encoder_space(features) if features else get_feature_space(self.images, told)
            )
        self.protocol["feature_space"] = space.facts
        if self.can("draw"):
            yield from self.looked_up(space.embed)
        if self.can("draw") and isinstance(space, FeatureSpace):
            yield from label_accuracy_metrics(space, self.drawn, self.told[0])
        with self.teller.stage("distances"):
            comparison = SampleQuality(space, self.images, self.test, self.options.max_images)
            self.protocol["distances"] = comparison.counts()
            yield from comparison.figures(made)
        if self.options.fid and self.samples is not None:
            from pinxit.evaluation.fid import fid

            with self.teller.stage("FID"):
                yield "fid_samples", fid(self.samples, self.test)

    def looked_up(self, embed: Embed) -> Iterator[MetricValue]:
        """Whether a drawn image is nearest to the true one, and what looking up reaches."""
        from pinxit.evaluation.retrieval import retrieval_metrics

        yield from retrieval_metrics(embed, self.drawn, *self.told, self.known)


def evaluate(
    run: Run | str | Path,
    data: str | Path | Sequence[str | Path] | Images | None = None,
    options: EvalOptions | None = None,
    *,
    device: str | None = None,
    progress: bool = True,
    write: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    """Measure a run on the test split of its data, or of `data`.

    `changes` are fields of `EvalOptions` or of `GenerationParams`; they win over `options`.
    Return the record that is written to the run's `evaluation.json` (unless `write` is False):
    `metrics` {name: number}, `curves` {name: numbers}, `protocol`, `warnings`; see
    `pinxit.evaluation.metrics`. The same seed gives the same values.

    Raises UsageError for an unknown option or a bad value, PinxitError if the run or the data
    cannot be read.
    """
    options = resolve_options(options, changes)
    run = run if isinstance(run, Run) else Run(Path(run))
    run.config  # noqa: B018 (a folder that is no run says so before torch is imported)
    from pinxit.evaluation.provenance import environment
    from pinxit.sampling.inputs import load_for_run, load_run_data

    begun = time.monotonic()
    if options.feature_run is not None:
        Run(options.feature_run).config  # noqa: B018 (before any work)
    if data is None:
        images = load_run_data(run, progress=progress)
    else:
        images = load_for_run(run, [data] if isinstance(data, str | Path) else data)
    model = run.load(device or _device())
    with StageProgress(progress) as teller:
        judged = Assessment(model, images, options, teller)
        judged.warnings += _changed(run, images) if data is None else []
        judged.protocol.update(data=images.source, fingerprint=images.fingerprint)
        judged.protocol["seed"] = options.seed
        figures, curves = collect(judged.figures())
    if not figures:
        raise PinxitError(f"there is nothing to measure of a run of the family '{run.family}'.")
    judged.protocol.update(environment(next(model.parameters()).device))
    judged.protocol["seconds"] = round(time.monotonic() - begun, 1)
    record = {
        "metrics": figures,
        "curves": curves,
        "protocol": judged.protocol,
        "warnings": judged.warnings,
    }
    if write:
        run.write("evaluation.json", record)
    return record


def _changed(run: Run, images: Images) -> list[str]:
    """A line where the run's data is not what it learned from any more."""
    learned = (run.config.get("data") or {}).get("fingerprint")
    if not learned or learned == images.fingerprint:
        return []
    return [f"{images.source} has changed since the run learned from it: its splits may differ"]


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
