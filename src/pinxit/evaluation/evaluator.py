"""The stages of an evaluation: which metrics a model's abilities and its data allow.

`Evaluator.metrics` runs every stage that applies; a stage yields (name, value).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pinxit.console import StageProgress
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import PinxitError
from pinxit.evaluation import captioning, editing, text_to_image
from pinxit.evaluation.codebook_usage import codebook_metrics
from pinxit.evaluation.disentanglement import disentanglement_metrics
from pinxit.evaluation.drawn_samples import draw_samples
from pinxit.evaluation.elbo_surgery import surgery_metrics, surgery_protocol
from pinxit.evaluation.estimates import estimate_over
from pinxit.evaluation.feature_space import (
    MIN_IMAGES,
    FeatureSpace,
    TrainedSpace,
    get_feature_space,
    load_encoder_space,
)
from pinxit.evaluation.fid import fid_metrics
from pinxit.evaluation.inpainting import inpainting_metrics
from pinxit.evaluation.latents import collapse_warnings, latent_metrics
from pinxit.evaluation.likelihood import label_warnings, require_label_frequencies
from pinxit.evaluation.likelihood_stages import LikelihoodStages
from pinxit.evaluation.linear_probe import (
    MAX_VALIDATION_IMAGES,
    probe_metrics,
    select_labelled,
    split_for_probe,
)
from pinxit.evaluation.metrics import MetricValue, with_spaced_names
from pinxit.evaluation.options import EvalOptions
from pinxit.evaluation.power_spectrum import sharpness_metrics
from pinxit.evaluation.reconstruction import reconstruction_metrics
from pinxit.evaluation.retrieval import retrieval_metrics
from pinxit.evaluation.sample_quality import MAX_TRAIN_IMAGES, SampleQuality
from pinxit.evaluation.two_sample import MIN_CLASSIFIER_SAMPLES, MIN_FIT_IMAGES
from pinxit.evaluation.used_options import describe_generation, divide_options
from pinxit.models.generation import GenerationParams
from pinxit.models.inputs import captions_within_limit
from pinxit.models.levels import has_posterior_density
from pinxit.models.protocols import (
    CanCaption,
    CanComplete,
    CanDraw,
    CanEdit,
    CanEmbed,
    CanEncode,
    CanReconstruct,
    CanSample,
    CanScore,
    CanTokenize,
    CanTranslate,
    HasELBO,
    HasPalette,
    HasText,
    Model,
)
from pinxit.runs import run_of
from pinxit.sampling.elbo import ElboTerms, elbo_terms
from pinxit.sampling.inputs import match_labels, select_rows
from pinxit.sampling.latents import latent_activity
from pinxit.sampling.observation import (
    comparable_images,
    mean_observation,
    observe_images,
)
from pinxit.training.undertraining import is_undertrained

MAX_TEST_IMAGES = 10_000
TRAIN_SPLIT_WARNING = (
    "the images measured include the training split: probe, baselines and distances compare "
    "images with themselves"
)
MAX_INPAINTING_IMAGES = 512
MAX_TEXT_IMAGES = 512  # captioned, drawn or edited, unless options.likelihood_images is set


@dataclass
class Evaluator:
    """Measures one model; collects the protocol and the warnings on the way."""

    model: Model
    images: Images  # all splits; the training split is used by probe, distances and baselines
    options: EvalOptions
    progress: StageProgress
    protocol: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def metrics(self) -> Iterator[MetricValue]:
        """Yield every metric that the model and its data allow.

        Raises UsageError for options that have no effect, before anything is measured.
        """
        model = self.model
        self.protocol |= describe_generation(self.options.generation, self.generation)
        if isinstance(model, HasELBO):
            bounds = self.likelihood_stages.bounds(model, self.elbo_terms)
            yield from with_spaced_names(bounds, self.test)
        elif isinstance(model, CanScore):
            yield from with_spaced_names(self.likelihood_stages.scores(model), self.test)
        if isinstance(model, CanEncode):
            yield from self.latents(model)
        if isinstance(model, CanTokenize):
            yield from codebook_metrics(model, self.test)
        yield from self.text_and_images()
        yield from self.detail()
        if isinstance(model, CanComplete):
            yield from self.inpainting(model)
        if isinstance(model, CanEmbed) and self.options.probe_train_size:
            yield from self.probe(model)
        if self.options.distances:
            yield from self.distances()

    # -- images --------------------------------------------------------------------------------

    @cached_property
    def test(self) -> Images:
        """At most 10,000 images of the split to measure on; of all images without test images."""
        split = self.options.split
        rows, warning = select_rows(match_labels(self.model, self.images), split)
        self.warnings += [warning] if warning else []
        self.warnings += [TRAIN_SPLIT_WARNING] if split in ("train", "all") else []
        self.protocol["split"] = "all images (no test split)" if warning else split
        images = rows.evenly_spaced(MAX_TEST_IMAGES).load()
        self.warnings += label_warnings(self.model, images)
        self.protocol["test_images"] = len(images)
        return images

    @cached_property
    def train_subset(self) -> Images:
        """Training images among which nearest neighbours are searched."""
        if self.images.splits is None:
            return self.images[:0]
        rows = self.images.split_indices("train")
        return self.images.take(rows[evenly_spaced_indices(len(rows), MAX_TRAIN_IMAGES)])

    @cached_property
    def reconstructions(self) -> Images | None:
        """The test images, reconstructed."""
        if not isinstance(self.model, CanReconstruct):
            return None
        with self.progress.stage("reconstructions"):
            return self.model.reconstruct(self.test)

    @cached_property
    def samples(self) -> Images | None:
        """Samples with the label frequencies of the test images, or images from their captions."""
        if isinstance(self.model, CanDraw):
            return self.drawings
        if not isinstance(self.model, CanSample):
            return None
        count = min(self.options.max_images, len(self.test))
        self.protocol["samples"] = count
        with self.progress.stage(f"{count:,} samples"):
            return self.draw_samples(count)

    @cached_property
    def classifier_samples(self) -> Images | None:
        """Samples for a classifier to distinguish: more than test images where these are few."""
        count = min(self.options.max_images, MIN_CLASSIFIER_SAMPLES)
        needed = count if len(self.train_subset) >= MIN_FIT_IMAGES else 0
        if not isinstance(self.model, CanSample) or len(self.samples or ()) >= needed:
            return self.samples
        with self.progress.stage(f"{count:,} samples for a classifier"):
            return self.draw_samples(count)

    def draw_samples(self, count: int) -> Images:
        """Sample images with the label frequencies of the test images."""
        given = self.generation["sample"]
        return draw_samples(self.model, self.test, count, self.options, **given)

    @cached_property
    def caption_pairs(self) -> tuple[Images, list[str]]:
        """Test images that have a caption, and one caption of each; languages alternate."""
        assert isinstance(self.model, HasText)
        count = min(self.options.likelihood_images or MAX_TEXT_IMAGES, self.options.max_images)
        images = self.test.evenly_spaced(count)
        rows, texts = captions_within_limit(self.model, images)
        if not texts:
            raise PinxitError("the test images have no captions in a language of the model.")
        self.protocol["captions"] = len(texts)
        return images.take(rows), texts

    @cached_property
    def drawings(self) -> Images:
        """An image generated from each caption."""
        assert isinstance(self.model, CanDraw)
        _, texts = self.caption_pairs
        params = GenerationParams(seed=self.options.seed, **self.generation["draw"])
        with self.progress.stage(f"drawing {len(texts):,} captions"):
            return self.model.draw(texts, params)

    @cached_property
    def generation(self) -> dict[str, dict[str, Any]]:
        """The generation options of each method that is called, see `divide_options`."""
        edits = self.images.before is not None or not isinstance(self.model, CanDraw)
        return divide_options(self.model, self.options, edits=edits)

    # -- likelihood and latents ----------------------------------------------------------------

    @cached_property
    def elbo_terms(self) -> ElboTerms:
        """Reconstruction and KL terms of the test images."""
        assert isinstance(self.model, HasELBO)
        with self.progress.stage(f"ELBO of {len(self.test):,} images") as progress:
            return elbo_terms(self.model, self.test, self.options.seed, progress)

    @cached_property
    def likelihood_stages(self) -> LikelihoodStages:
        """The stages that measure likelihoods; they share protocol and warnings."""
        label_probs = None
        if self.options.average_labels:
            label_probs = require_label_frequencies(self.model, self._select("train"))
        return LikelihoodStages(
            self.test, self.options, self.progress, self.protocol, self.warnings, label_probs
        )

    def latents(self, model: CanEncode) -> Iterator[MetricValue]:
        """KL per latent and active units; a warning if the latents are not used."""
        terms = self.elbo_terms if isinstance(model, HasELBO) else None
        activity = latent_activity(model, self.test, terms=terms)
        short, images = is_undertrained(run_of(model)), (self.test, self.reconstructions)
        self.warnings += collapse_warnings(activity, *images, undertrained=short)
        yield from latent_metrics(activity, self.test)
        yield from disentanglement_metrics(model, self.test)
        if terms is not None and has_posterior_density(model):
            self.protocol["elbo_surgery"] = surgery_protocol(model, self.test)
            with self.progress.stage("information in the latents"):
                yield from surgery_metrics(model, self.test, terms.rate.sum(1), self.options.seed)

    # -- text and images -----------------------------------------------------------------------

    def text_and_images(self) -> Iterator[MetricValue]:
        """Yield images drawn from text, edits, captions and translations."""
        model = self.model
        if isinstance(model, HasText):
            captions = self.test.captions
            self.protocol["unknown_words"] = captioning.unknown_words(model, captions)
            self.warnings += text_to_image.grey_scene_warnings(self.model, self.test)
        if isinstance(model, CanDraw):
            yield from text_to_image.text_to_image_metrics(self.drawings, self.caption_pairs[0])
        # what draws may edit as well, without having learned it from pairs
        if isinstance(model, CanEdit) and not (
            isinstance(model, CanDraw) and self.test.before is None
        ):
            yield from self.edits(model)
        if isinstance(model, CanCaption):
            images = self.record_text_metrics(model)
            with self.progress.stage(f"captions of {len(images):,} images"):
                train, given = self.train_subset, self.generation["caption"]
                values = list(captioning.captioning_metrics(model, images, train, **given))
            self.warnings += captioning.repetition_warnings(dict(values))
            yield from values
        if isinstance(model, CanTranslate):
            images = self.record_text_metrics(model)
            self.warnings += captioning.translation_warnings(model, images)
            with self.progress.stage(f"translations of {len(images):,} captions"):
                yield from captioning.translation_metrics(model, images)

    def record_text_metrics(self, model: HasText) -> Images:
        """Record the signatures of BLEU and chrF; return the images with captions."""
        images, _ = self.caption_pairs
        languages = model.text_tokenizer.languages
        self.protocol["text_metrics"] = captioning.text_signatures(images, languages)
        return images

    def edits(self, model: CanEdit) -> Iterator[MetricValue]:
        """Test images edited as their captions instruct."""
        if self.test.before is None:
            raise PinxitError("editing is evaluated on pairs of images before and after the edit.")
        images, instructions = self.caption_pairs
        assert images.before is not None
        params = GenerationParams(seed=self.options.seed, **self.generation["edit"])
        with self.progress.stage(f"editing {len(images):,} images"):
            edited = model.edit(Images(images.before), instructions, params)
        yield from editing.edit_metrics(edited, images)

    # -- images --------------------------------------------------------------------------------

    def detail(self) -> Iterator[MetricValue]:
        """Error of the reconstructions; sharpness of reconstructions and samples."""
        if self.reconstructions is not None:
            with self.progress.stage("PSNR and SSIM"):
                yield from reconstruction_metrics(self.test, self.reconstructions)
        if isinstance(self.model, HasPalette) and not self.model.palette_is_exact:
            yield "palette_psnr", estimate_over(self.test, self.model.palette_psnr(self.test))
        if self.reconstructions is not None or self.samples is not None:
            yield from self.sharpness()

    def sharpness(self) -> Iterator[MetricValue]:
        """Sharpness relative to the test images, in black and white if the samples are."""
        generated = self.reconstructions if self.samples is None else self.samples
        assert generated is not None
        images = comparable_images(self.model, self.test, generated, self.options.seed)
        yield from sharpness_metrics(images, self.reconstructions, self.samples)

    def inpainting(self, model: CanComplete) -> Iterator[MetricValue]:
        """Error of completed images, by mask ratio."""
        images = self.test.evenly_spaced(MAX_INPAINTING_IMAGES)
        with self.progress.stage("inpainting"):
            given = self.generation["complete"]
            yield from inpainting_metrics(model, images, self.options.seed, **given)

    def probe(self, model: CanEmbed) -> Iterator[MetricValue]:
        """Accuracy of a linear probe on the features, if the images have labels."""
        if self.images.splits is None:
            return
        train = select_labelled(self._select("train"), self.options.probe_train_size)
        test = select_labelled(self.test, MAX_TEST_IMAGES)
        if train is None or test is None:
            return
        images = split_for_probe(train, self._probe_validation(), test)
        self.protocol["probe"] = images.describe()
        with self.progress.stage(f"linear probe on {len(train):,} images"):
            yield from probe_metrics(model, images)

    def _probe_validation(self) -> Images | None:
        if self.options.split in ("validation", "all"):
            return None  # these are what is measured
        return select_labelled(self._select("validation"), MAX_VALIDATION_IMAGES)

    def _select(self, split: str) -> ImageRows:
        """Return a split without copying its pixels: it may be larger than the memory."""
        return ImageRows(match_labels(self.model, self.images), self.images.split_indices(split))

    def distances(self) -> Iterator[MetricValue]:
        """Distances of samples and reconstructions to the test images, in a feature space."""
        sets = {"samples": self.samples, "reconstructions": self.reconstructions}
        generated = {name: images for name, images in sets.items() if images is not None}
        if not generated:
            return
        if len(self.test) < MIN_IMAGES:
            self.warnings.append(f"no distances: {len(self.test)} test images are too few")
            return
        space = self.feature_space()
        if isinstance(self.model, CanDraw):
            yield from self.drawing_distances(space)
        with self.progress.stage("distances"):
            quality = SampleQuality(
                space, self.images, self.test, self.options.max_images, self.observe, self.expect
            )
            yield from quality.metrics(generated)
        yield from quality.two_sample_test(self.classifier_samples)
        self.protocol["distances"] = {**quality.protocol, "compared": self._describe_observed()}
        self.warnings += quality.warnings
        if self.options.fid and self.samples is not None:
            train = quality.train_images(len(self.samples))
            with self.progress.stage("FID"):
                yield from fid_metrics(
                    self.observe(self.samples),
                    self.observe(self.test),
                    None if train is None else self.observe(train),
                )

    def observe(self, images: Images) -> Images:
        """Return images as the model observes them, for example binarized."""
        return observe_images(self.model, images, self.options.seed)

    def expect(self, images: Images) -> Images:
        """Return the mean of the observed images over their random pixels."""
        return mean_observation(self.model, images, self.options.seed)

    def _describe_observed(self) -> str:
        """Say how images are shown before they are compared, for the protocol."""
        model = self.model
        if isinstance(model, HasPalette) and not model.palette_is_exact:
            return "images as loaded with samples in the palette's colors"
        if np.array_equal(self.observe(self.test).pixels, self.test.pixels):
            return "images as loaded"
        return "images and samples in black and white, as the model observes them"

    def feature_space(self) -> FeatureSpace:
        """Load or train the feature space, and record it in the protocol."""
        with self.progress.stage("feature space") as progress:
            if self.options.feature_run is not None:
                space = load_encoder_space(self.options.feature_run)
            else:
                space = get_feature_space(self.images, progress)
        self.protocol["feature_space"] = space.description
        return space

    def drawing_distances(self, space: FeatureSpace) -> Iterator[MetricValue]:
        """Yield how often a drawing retrieves the image of its caption, and shows its label."""
        images, texts = self.caption_pairs
        yield from retrieval_metrics(space.embed, self.drawings, images, texts, self.train_subset)
        if isinstance(space, TrainedSpace) and space.predicts_labels:
            yield from text_to_image.label_accuracy_metrics(space, self.drawings, images)
