"""Why the samples of a run are blurry: each cause, measured on the run's own images.

Measured on test images; what is fitted is fitted to training images, with options chosen on
validation images. `pinxit.evaluation.explain_metrics` has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from pinxit.console import StageProgress
from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, estimate_mean
from pinxit.evaluation.feature_space import FeatureSpace, get_feature_space
from pinxit.evaluation.latents import collapse_warnings
from pinxit.evaluation.noise_model import (
    NoiseModel,
    calibration_ratio,
    measure_noise_model,
    noise_variance,
    single_sigma,
)
from pinxit.evaluation.posterior_cover import Cover, GivenLabels, Region, find_cover
from pinxit.evaluation.prior_gap import PriorGap, measure_gap
from pinxit.evaluation.total_correlation import RateParts, count_images, split_rate
from pinxit.models.latent_densities import Density
from pinxit.models.likelihood_protocols import (
    CanSamplePixels,
    HasPixelLikelihood,
    has_point_posterior,
)
from pinxit.models.protocols import HasPrior
from pinxit.models.results import LatentPosterior, Posterior
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import per_image_normal
from pinxit.runs import run_of
from pinxit.sampling.elbo import ElboTerms, elbo_terms
from pinxit.sampling.fitted_priors import (
    FittedPrior,
    encode_for_fitting,
    fit_prior,
    sample_from_density,
    select_for_fitting,
)
from pinxit.sampling.inputs import labels_for, match_labels, select_rows
from pinxit.sampling.label_matched import sample_with_label_frequencies
from pinxit.sampling.latents import LatentActivity, latent_activity
from pinxit.sampling.observation import (
    comparable_images,
    decode_as_sampled,
    observe_images,
    samples_pixels,
)
from pinxit.training.undertraining import is_undertrained

MAX_PIXEL_VALUES = 8_000_000  # that are decoded of each set of images
MIN_TEST_IMAGES, MAX_TEST_IMAGES = 100, 2_000
MAX_TRAIN_VALUES = 40_000_000  # pixel values of training images in memory
MAX_NOISE_IMAGES = 1_000  # for variances by pixel and frequency
NUM_QUERIES = 200  # z whose covering training images are searched
MIXED_SHARE = 0.05  # of N(0, I) in a fitted prior whose gain is measured
MIN_DISTANCE_IMAGES = 16  # fewer say nothing about distances


@dataclass
class Explainer:
    """Measures a model with latents and an ELBO; what is not shown is not measured."""

    model: Any  # CanEncode, HasELBO and CanSample
    images: Images  # all splits
    progress: StageProgress
    seed: int = 0
    split: str = "test"
    warnings: list[str] = field(default_factory=list)

    # -- images --------------------------------------------------------------------------------

    @cached_property
    def num_images(self) -> int:
        """Images of each set that is compared."""
        count = MAX_PIXEL_VALUES // self.model.info.dims
        return int(np.clip(count, MIN_TEST_IMAGES, MAX_TEST_IMAGES))

    @cached_property
    def test(self) -> Images:
        """The images that everything is measured on, with their grey values."""
        rows, warning = select_rows(match_labels(self.model, self.images), self.split)
        self.warnings += [warning] if warning else []
        return rows.evenly_spaced(self.num_images).load()

    @cached_property
    def model_input(self) -> Images:
        """The test images as the likelihood sees them: binarized where it is over binary pixels."""
        return observe_images(self.model, self.test, self.seed)

    @cached_property
    def reference(self) -> Images:
        """The test images that samples are compared with."""
        return comparable_images(self.model, self.test, self.sets["prior"], self.seed)

    @cached_property
    def _fitting(self) -> tuple[Images, Images]:
        count = int(np.clip(MAX_TRAIN_VALUES // self.model.info.dims, 500, 10_000))
        train, valid = select_for_fitting(self.images, count)
        return match_labels(self.model, train), match_labels(self.model, valid)

    @property
    def has_validation(self) -> bool:
        """Whether there are images to choose by that were not trained on."""
        splits = self.images.splits
        return splits is not None and len(self.images.split_indices("validation")) > 0

    @property
    def train(self) -> Images:
        """Training images."""
        return self._fitting[0]

    # -- latents -------------------------------------------------------------------------------

    @cached_property
    def posterior(self) -> LatentPosterior:
        """q(z|x) of the observed test images, flat."""
        return self.model.encode(self.model_input).flatten()

    @cached_property
    def train_posterior(self) -> LatentPosterior:
        """q(z|x) of the training images, flat."""
        with self.progress.stage(f"encoding {len(self.train):,} training images"):
            return encode_for_fitting(self.model, self.train, self.seed)

    @cached_property
    def valid_posterior(self) -> LatentPosterior:
        """q(z|x) of validation images, flat."""
        return encode_for_fitting(self.model, self._fitting[1], self.seed)

    @cached_property
    def terms(self) -> ElboTerms:
        """Distortion and rate of the test images."""
        with self.progress.stage(f"ELBO of {len(self.test):,} images") as progress:
            return elbo_terms(self.model, self.test, self.seed, progress)

    @cached_property
    def activity(self) -> LatentActivity:
        """How much each latent depends on the image."""
        return latent_activity(self.model, self.test, terms=self.terms)

    @cached_property
    def has_standard_prior(self) -> bool:
        """Whether p(z) is N(0, I), whose latents are independent."""
        return not (isinstance(self.model, HasPrior) and self.model.prior_is_learned)

    @property
    def is_point(self) -> bool:
        """Whether q(z|x) is one point for each image: there is no rate, and no ELBO."""
        return has_point_posterior(self.model)

    @property
    def pixels_depend(self) -> bool:
        """Whether pixels depend on those before them given z: p(x|z) has a head."""
        return samples_pixels(self.model)

    @cached_property
    def rate_parts(self) -> RateParts | None:
        """The parts of the rate of Gaussians under N(0, I); None for any other prior or q(z|x)."""
        if not self.has_standard_prior or self.is_point or len(self.test) < 2:
            return None
        count = count_images(self.model.latent_dim, len(self.test))
        images = self.model_input.evenly_spaced(count)
        posterior = self.model.encode(images).flatten()
        if not isinstance(posterior, Posterior):
            return None
        seeds = image_seeds(images, self.seed, Draw.AGGREGATE)
        noise = per_image_normal(len(images), posterior.mean.shape[1:], seeds)
        with self.progress.stage("parts of the KL term"):
            return split_rate(posterior, noise, images.groups)

    @cached_property
    def densities(self) -> dict[str, Density]:
        """A mixture and a flow fitted to the latents of training images."""
        fitted = {}
        kinds: tuple[FittedPrior, ...] = ("mixture", "realnvp")
        for kind in kinds:
            with self.progress.stage(f"prior fitted to the latents: {kind}"):
                fitted[kind] = fit_prior(
                    kind, self.train_posterior, self.valid_posterior, self.seed
                )
        return fitted

    @property
    def best_density(self) -> str:
        """The kind that is densest at the latents of validation images."""
        z = self.sample_posterior(self.valid_posterior, 6)
        return max(self.densities, key=lambda kind: float(self.densities[kind].log_prob(z).mean()))

    def sample_posterior(
        self, posterior: LatentPosterior, seed: int
    ) -> Float32[np.ndarray, "n latent"]:
        """Sample z ~ q(z|x), one of each image; a point is the sample itself."""
        z = posterior.mean if self.is_point else self._draw(posterior, seed)[0]
        return z.astype(np.float32)

    def _draw(self, posterior: LatentPosterior, seed: int) -> tuple[np.ndarray, np.ndarray]:
        eps = np.random.default_rng([seed, self.seed]).standard_normal(posterior.mean.shape)
        return posterior.draw(eps)

    def prior_gains(self) -> dict[str, Estimate]:
        """Return what each fitted prior lowers the rate by, in nats per image.

        Under N(0, I) a share of it is mixed into the fitted prior, which is then never worse by
        more than a few nats: an image unlike all others would else outweigh them. Of latents on a
        surface there is none: a density over all latents does not compare with one over it.
        """
        if self.is_point or not self.posterior.has_lebesgue_density:
            return {}
        z, log_q = self._draw(self.posterior, 1)
        entropy = -log_q
        if isinstance(self.posterior, Posterior):  # in closed form
            log_std = np.log(self.posterior.std.astype(np.float64))
            entropy = (0.5 * (1 + np.log(2 * np.pi)) + log_std).sum(1)
        z = z.astype(np.float32)
        log_p = -0.5 * (np.square(z.astype(np.float64)) + np.log(2 * np.pi)).sum(1)
        gains = {}
        for kind, density in self.densities.items():
            log_r = density.log_prob(z)
            if self.has_standard_prior:
                parts = np.log1p(-MIXED_SHARE) + log_r, np.log(MIXED_SHARE) + log_p
                gain = np.logaddexp(*parts) - log_p
            else:
                gain = self.terms.rate.sum(1) + entropy + log_r
            gains[kind] = estimate_mean(gain, self.test.groups)
        return gains

    # -- decoded images ------------------------------------------------------------------------

    @cached_property
    def reconstructions(self) -> Images:
        """The decoded posterior means of the test images."""
        with self.progress.stage("reconstructions"):
            return self.model.decode(self.posterior.mean, labels_for(self.model, self.test))

    @cached_property
    def sets(self) -> dict[str, Images]:
        """Decoded z from each origin, as many as there are test images."""
        count = len(self.test)
        with self.progress.stage(f"4 x {count:,} samples"):
            prior = sample_with_label_frequencies(self.model, self.test, count, self.seed)
            rows = np.random.default_rng(self.seed).permutation(len(self.train))
            rows = np.sort(np.resize(rows, count))
            z = self.sample_posterior(self.train_posterior.take(rows), 2)
            labels = labels_for(self.model, self.train.take(rows))
            posterior = decode_as_sampled(self.model, z, labels, self.seed)
            sets = {"prior": prior, "posterior": posterior}
            for kind, density in self.densities.items():
                sets[kind] = sample_from_density(
                    self.model, density, count, self.seed, like=self.test
                )
        return sets

    @cached_property
    def space(self) -> FeatureSpace | None:
        """The feature space of distances; None for too few images."""
        if len(self.test) < MIN_DISTANCE_IMAGES:
            self.warnings.append(
                f"no distances: {len(self.test):,} test images are too few (it takes "
                f"{MIN_DISTANCE_IMAGES})"
            )
            return None
        with self.progress.stage("feature space") as progress:
            return get_feature_space(self.images, progress)

    @cached_property
    def gap(self) -> PriorGap | None:
        """Distances by where z comes from, and the prior's part of the gap."""
        if self.space is None:
            return None
        rows = np.random.default_rng(self.seed + 1).permutation(len(self.train))
        train = self.train.take(np.sort(np.resize(rows, len(self.test))))
        real = comparable_images(self.model, train, self.sets["prior"], self.seed)
        with self.progress.stage("distances"):
            sets = {name: self.space.embed(images) for name, images in self.sets.items()}
            sets["train"] = self.space.embed(real)
            sets["reconstructions"] = self.space.embed(self.reconstructions)
            test = self.space.embed(self.reference)
            return measure_gap(sets, test, self.test.groups)

    # -- the likelihood ------------------------------------------------------------------------

    def decoding_errors(
        self, images: Images, posterior: LatentPosterior, seed: int
    ) -> Float32[np.ndarray, "n height width channel"]:
        """x - f(z) for one z ~ q(z|x) of each observed image, in grey levels."""
        z = self.sample_posterior(posterior, seed)
        labels = labels_for(self.model, images)
        if isinstance(self.model, CanSamplePixels):
            means = self.model.decode_means(z, labels)
        else:
            means = self.model.decode(z, labels).pixels
        return images.pixels.astype(np.float32) - means

    @cached_property
    def errors(self) -> Float32[np.ndarray, "n height width channel"]:
        """Errors of test images, for the noise that the likelihood assumes."""
        return self.decoding_errors(self._noise_images, self._noise_posterior, 3)

    @cached_property
    def _noise_images(self) -> Images:
        return self.model_input.evenly_spaced(MAX_NOISE_IMAGES)

    @cached_property
    def _noise_posterior(self) -> LatentPosterior:
        return self.model.encode(self._noise_images).flatten()

    @cached_property
    def noise_model(self) -> NoiseModel | None:
        """Distortions under several variances; None where p(x|z) has not one sigma."""
        model: Any = self.model
        sigma = single_sigma(model) if isinstance(model, HasPixelLikelihood) else None
        if sigma is None:
            return None
        valid = self._fitting[1].evenly_spaced(MAX_NOISE_IMAGES)
        posterior = encode_for_fitting(self.model, valid, self.seed)
        calibration = self.decoding_errors(valid, posterior, 4)
        with self.progress.stage("variances of the likelihood"):
            return measure_noise_model(self.errors, calibration, sigma, self._noise_images.groups)

    def measure_calibration(self) -> Estimate | None:
        """Return the squared error over the variance that p(x|z) states."""
        z = self.sample_posterior(self._noise_posterior, 3)
        labels = labels_for(self.model, self._noise_images)
        decoded = self.model.decode(z, labels)
        variance = noise_variance(self.model, z, decoded, labels, self.seed)
        if variance is None:
            return None
        return calibration_ratio(self.errors, variance, self._noise_images.groups)

    # -- the decoder's mean --------------------------------------------------------------------

    @cached_property
    def region(self) -> Region:
        """The part of an image that is compared with averages of training images."""
        return Region.of_model(self.model, self.test)

    @cached_property
    def queries(self) -> tuple[Images, Float32[np.ndarray, "n latent"]]:
        """Some test images and a z of each."""
        images = self.model_input.evenly_spaced(NUM_QUERIES)
        posterior = self.model.encode(images).flatten()
        return images, self.sample_posterior(posterior, 5)

    @cached_property
    def cover(self) -> Cover:
        """The training images that the z of some test images could stand for."""
        queries, z = self.queries
        z = z[:, self.region.latents]
        with self.progress.stage("training images at the same z"):
            rows, train = self.region.select(self.train_posterior, len(z))
            images = self.covering_images.take(rows)
            labels = GivenLabels.of_model(self.model, images, queries)
            return find_cover(train, images, z, self.region, labels=labels)

    @cached_property
    def covering_images(self) -> Images:
        """The training images as the likelihood sees them: averages are taken of these."""
        return observe_images(self.model, self.train, self.seed)

    @cached_property
    def query_outputs(self) -> Images:
        """The decoded z of `queries`."""
        images, z = self.queries
        return self.model.decode(z, labels_for(self.model, images))

    def collapse_warnings(self) -> list[str]:
        """Signs that the latents are not used."""
        undertrained = is_undertrained(run_of(self.model))
        return list(
            collapse_warnings(
                self.activity, self.reference, self.reconstructions, undertrained=undertrained
            )
        )

    def draw_noise(self, z: Float[np.ndarray, "n latent"], images: Images) -> Images | None:
        """Sample p(x|z); None if the model cannot."""
        if not isinstance(self.model, CanSamplePixels):
            return None
        return self.model.sample_pixels(z, labels_for(self.model, images), seed=self.seed)
