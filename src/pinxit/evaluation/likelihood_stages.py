"""The stages of an evaluation that measure likelihoods; they record protocol and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pinxit.console import StageProgress
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import PinxitError
from pinxit.evaluation import likelihood
from pinxit.evaluation.compression import compression_metrics
from pinxit.evaluation.estimates import estimate_mean
from pinxit.evaluation.log_weights import (
    IWLogLikelihood,
    LabelProbs,
    iw_log_likelihood,
    select_images,
)
from pinxit.evaluation.metrics import MetricValue
from pinxit.evaluation.options import EvalOptions
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.models.protocols import CanEncode, CanScore, HasELBO
from pinxit.sampling.elbo import ElboTerms

NO_BOUND = "none: posterior deterministic is a point, of which there is no bound of log p(x)"
OF_POINTS = "q(z|x) as a Gaussian of standard deviation 0.1, whatever the scale of the latents"
IW_SAMPLES = 5_000  # of an image, by default
MAX_EXACT_LIKELIHOOD_IMAGES = 2_000  # unless options.likelihood_images is set


def choose_iw_samples(model: object, num_samples: int | None) -> int:
    """Return the importance samples of an image; by default none of a grid of latents."""
    if num_samples is not None:
        return num_samples
    has_grid = isinstance(model, CanEncode) and len(model.latent_shape) > 1
    return 0 if has_grid else IW_SAMPLES


@dataclass
class LikelihoodStages:
    """Measures likelihoods of the test images; adds to `protocol` and `warnings` on the way."""

    test: Images
    options: EvalOptions
    progress: StageProgress
    protocol: dict[str, Any]
    warnings: list[str]
    label_probs: LabelProbs | None = None  # average over labels by these, too

    def bounds(self, model: HasELBO, terms: ElboTerms) -> Iterator[MetricValue]:
        """Yield the ELBO of all test images, and the importance-weighted estimate on a subset.

        A point in place of q(z|x) has no ELBO: of it the distortion of the decoded point.
        """
        if has_point_posterior(model):
            yield from self.point_distortion(model, terms)
            return
        self.protocol["likelihood"] = self._describe(model)
        yield from likelihood.elbo_metrics(model, terms, self.test)
        num_samples = choose_iw_samples(model, self.options.iw_samples)
        if num_samples:
            yield from self.importance_sampling(model, num_samples, terms)
        if model.eight_bit:
            yield from compression_metrics(self.test)

    def point_distortion(self, model: HasELBO, terms: ElboTerms) -> Iterator[MetricValue]:
        """Yield the distortion of points; and importance samples around them, if given."""
        yield "distortion", estimate_mean(terms.distortion, self.test.groups)
        self.protocol["likelihood"] = NO_BOUND
        if self.options.iw_samples:
            self.protocol["likelihood"] = f"{self._describe(model)}; {OF_POINTS}"
            yield from self.importance_sampling(model, self.options.iw_samples, None)

    def importance_sampling(
        self, model: HasELBO, k: int, terms: ElboTerms | None
    ) -> Iterator[MetricValue]:
        """Yield the estimate of k importance samples and its diagnostics; with warnings."""
        share = self.options.defensive_share
        images = select_images(model, self.test, k, self.options.likelihood_images)
        estimate = self._estimate(model, images, k, None)
        self.protocol["importance_sampling"] = likelihood.iw_protocol(estimate, k, share)
        self.warnings += likelihood.iw_warnings(estimate, k)
        rows = evenly_spaced_indices(len(self.test), len(images))
        elbo = None if terms is None else terms.elbo[rows]
        yield from likelihood.iw_metrics(model, estimate, images, elbo)
        if self.label_probs is not None:
            estimate = self._estimate(model, images, k, self.label_probs)
            self.warnings += likelihood.iw_warnings(estimate, k)
            yield from likelihood.iw_metrics(model, estimate, images, averaged=True)

    def scores(self, model: CanScore) -> Iterator[MetricValue]:
        """Yield the log-likelihood of a model that computes it, or a lower bound of it."""
        most = model.max_scored_images or MAX_EXACT_LIKELIHOOD_IMAGES
        images = self.test.evenly_spaced(self.options.likelihood_images or most)
        kind = "exact" if model.likelihood_is_exact else "lower bound"
        description = f"{kind}, of {len(images):,} images; {self._describe(model)}"
        is_held = likelihood.images_held_exactly(model, images)
        with self.progress.stage(f"likelihood of {len(images):,} images"):
            try:
                yield from likelihood.score_metrics(
                    model, images, self.options.seed, self.label_probs, is_held
                )
            except PinxitError as error:  # e.g. a model trained with a masked objective
                self.warnings.append(f"no likelihood: {error}")
                self.protocol["likelihood"] = description
                return
        if is_held is not None and not is_held.all():
            description += "; of the quantized images"
            self.warnings.append(likelihood.loss_warning(is_held))
        elif model.eight_bit:
            yield from compression_metrics(images)
        self.protocol["likelihood"] = description

    def _describe(self, model: CanScore | HasELBO) -> str:
        averaged = self.label_probs is not None
        return likelihood.describe_likelihood(model, self.test, averaged=averaged)

    def _estimate(
        self, model: HasELBO, images: Images, num_samples: int, label_probs: LabelProbs | None
    ) -> IWLogLikelihood:
        """Estimate log p(x) given the labels, or averaged over them."""
        options = self.options
        given = "" if label_probs is None else ", each label"
        stage = f"likelihood of {len(images):,} images, {num_samples:,} samples{given}"
        with self.progress.stage(stage) as progress:
            return iw_log_likelihood(
                model,
                images,
                num_samples,
                options.seed,
                progress,
                defensive_share=options.defensive_share,
                label_probs=label_probs,
            )
