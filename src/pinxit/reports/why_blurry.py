"""The section "Why is it blurry?", for models that maximize an evidence lower bound.

With z ~ q(z|x) and the decoder's mean f(z), the expected squared error of a reconstruction is the
squared bias plus the variance:

    E |x - f(z)|^2 = |x - E f(z)|^2 + E |f(z) - E f(z)|^2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.models.levels import has_posterior_density
from pinxit.models.likelihood_protocols import HasPixelLikelihood, has_point_posterior
from pinxit.models.protocols import CanEncode, Model
from pinxit.models.results import LatentPosterior
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import (
    InlineImage,
    inline_grid,
    inline_image,
    is_small,
    make_error_map,
    shrink,
)
from pinxit.reports.remedies import find_remedies, read_current_explanation
from pinxit.reports.sections import MAX_IMAGE_SIDE, Section, inline_shrunk
from pinxit.sampling.elbo import ElboTerms
from pinxit.sampling.inputs import labels_for
from pinxit.sampling.observation import samples_pixels

NUM_SAMPLES = 24  # posterior samples of the image that is shown
NUM_SHOWN_SAMPLES = 6
NUM_NEIGHBORS = 6
SAMPLES_PER_IMAGE = 16  # posterior samples by which the error is decomposed
SHOWN_ERROR_QUANTILE = 0.8  # the image shown has a larger error than this share of images
NOISE_NOTE = ". Not reliable, see the warnings: noise counts as sharp"


@dataclass(frozen=True)
class ErrorDecomposition:
    """Root mean squared error in grey levels (0 to 255) and its parts: rmse^2 = bias^2 + std^2."""

    rmse: float
    bias: float  # original - mean of its decoded posterior samples
    std: float  # of the decoded posterior samples


@dataclass(frozen=True)
class EncodedImages:
    """Images with their posterior, reconstruction and ELBO."""

    model: CanEncode
    images: Images
    posterior: LatentPosterior
    reconstructions: Images
    mse: np.ndarray
    elbo_terms: ElboTerms

    @property
    def suffice(self) -> bool:
        """Whether there are enough images for the section."""
        return len(self.images) >= 2

    @classmethod
    def from_context(cls, context: ReportContext) -> EncodedImages | None:
        """Return None if anything is missing."""
        if not isinstance(context.model, CanEncode) or context.subset is None:
            return None
        posterior, terms = context.posterior, context.elbo_terms
        decoded, mse = context.reconstructions, context.reconstruction_mse
        if posterior is None or terms is None or decoded is None or mse is None:
            return None
        return cls(context.model, context.subset, posterior, decoded, mse, terms)


def why_blurry(context: ReportContext) -> Section | None:
    """Posterior samples of an image, the images with similar z, the error's parts, remedies."""
    encoded, model = EncodedImages.from_context(context), context.model
    if encoded is None or not encoded.suffice or not has_posterior_density(model):
        return None
    row = _select_image(encoded.mse)
    has_trials = bool(read_current_explanation(context).get("trials"))
    values: dict[str, Any] = {
        "is_point": has_point_posterior(model),
        "posterior_samples": _show_posterior_samples(encoded, row),
        "neighbors": _show_neighbors(encoded, row),
        "error": decompose_error(encoded, context.choose_num_images(SAMPLES_PER_IMAGE, 8, 48)),
        "split": context.split,
        "sigma": _describe_sigma(model),
        "binary_pixels": isinstance(model, HasPixelLikelihood) and model.binary_pixels,
        "pixels_depend": samples_pixels(model),
        "is_gaussian": encoded.posterior.is_gaussian,
        "sharpness": context.sharpness,
        "sharpness_doubt": NOISE_NOTE if context.quality_warnings else "",
        "undertrained": context.verdict.state == "undertrained",
        "distortion": float(encoded.elbo_terms.distortion.mean()),
        "rate": None
        if has_point_posterior(model)
        else float(encoded.elbo_terms.rate.sum(1).mean()),
        "surgery_is_bound": not context.measures_mutual_information,
        "mutual_information": context.metrics.get("mutual_information"),
        "marginal_kl": context.metrics.get("marginal_kl"),
        "remedies": [] if has_trials else find_remedies(context),
        "has_trials": has_trials,
        "command": f"pinxit explain {context.run.shell_path}",
    }
    return Section("why_blurry", "Why is it blurry?", values)


def _select_image(mse: np.ndarray) -> int:
    """Return an image whose error is larger than most but not the largest."""
    return int(np.argsort(mse)[int(SHOWN_ERROR_QUANTILE * (len(mse) - 1))])


def decode_posterior_samples(
    encoded: EncodedImages, rows: np.ndarray, num_samples: int, seed: int
) -> UInt8[np.ndarray, "rows samples height width channel"]:
    """Decode samples z of q(z|x) for each row; those of a point are all this point."""
    posterior = encoded.posterior.take(np.repeat(rows, num_samples))
    eps = np.random.default_rng(seed).standard_normal(posterior.mean.shape)
    z = posterior.mean if has_point_posterior(encoded.model) else posterior.draw(eps)[0]
    z = z.astype(np.float32)
    labels = labels_for(encoded.model, encoded.images[rows])
    repeated = None if labels is None else labels.repeat(num_samples)
    pixels = encoded.model.decode(z, repeated).pixels
    return pixels.reshape(len(rows), num_samples, *pixels.shape[1:])


def decompose_error(encoded: EncodedImages, max_images: int) -> ErrorDecomposition:
    """Decompose the squared error of sampled reconstructions, averaged over images."""
    rows = evenly_spaced_indices(len(encoded.images), max_images)
    decoded = decode_posterior_samples(encoded, rows, SAMPLES_PER_IMAGE, seed=1)
    squared_biases, variances = [], []
    for row, samples in zip(rows, decoded.astype(np.float32), strict=True):
        mean = samples.mean(0)
        variance = float(samples.var(0, ddof=1).mean())
        # subtract the variance of the mean of a few samples, which is not bias
        squared_error = np.mean((encoded.images.pixels[row] - mean) ** 2)
        squared_bias = squared_error - variance / SAMPLES_PER_IMAGE
        squared_biases.append(max(float(squared_bias), 0.0))
        variances.append(variance)
    bias2, variance = float(np.mean(squared_biases)), float(np.mean(variances))
    return ErrorDecomposition(*np.sqrt([bias2 + variance, bias2, variance]).tolist())


def _show_posterior_samples(encoded: EncodedImages, row: int) -> dict[str, Any]:
    """Original, decoded mean, decoded samples, their mean and standard deviation."""
    samples = decode_posterior_samples(encoded, np.array([row]), NUM_SAMPLES, seed=0)[0]
    mean = samples.astype(np.float32).mean(0).round().astype(np.uint8)
    std = samples.astype(np.float32).std(0)
    full_scale = max(float(std.max()), 1.0)
    decoded = encoded.reconstructions.pixels[row]
    images = [
        ("original", inline_shrunk(encoded.images.pixels[row], "Original")),
        ("decoded posterior mean", inline_shrunk(decoded, "Decoded posterior mean")),
    ]
    for i in range(NUM_SHOWN_SAMPLES):
        alt = f"Decoded posterior sample {i + 1}"
        images.append((f"sample {i + 1}", inline_shrunk(samples[i], alt)))
    images.append((f"mean of {NUM_SAMPLES} samples", inline_shrunk(mean, "Mean of the samples")))
    images.append(("standard deviation", _draw_std_map(std, full_scale)))
    return {"images": images, "full_scale": format_number(full_scale, 2)}


def _draw_std_map(std: np.ndarray, full_scale: float) -> InlineImage:
    small = shrink(make_error_map(std, np.zeros_like(std), full_scale)[None], MAX_IMAGE_SIDE)[0]
    return inline_image(small, "Standard deviation of the samples", is_small(std))


def _show_neighbors(encoded: EncodedImages, row: int) -> dict[str, Any] | None:
    """Return the images with the nearest posterior means, their average, and the reconstruction."""
    pixels, mean = encoded.images.pixels, encoded.posterior.mean
    if len(pixels) < 4 * NUM_NEIGHBORS:
        return None
    nearest = np.argsort(np.square(mean - mean[row]).sum(1))[: NUM_NEIGHBORS + 1]
    nearest = np.concatenate([[row], nearest[nearest != row]])[: NUM_NEIGHBORS + 1]
    average = pixels[nearest].astype(np.float32).mean(0).round().astype(np.uint8)
    alt = f"An image and the {NUM_NEIGHBORS} images with the nearest z"
    return {
        "images": inline_grid(shrink(pixels[nearest], MAX_IMAGE_SIDE), NUM_NEIGHBORS + 1, alt),
        "average": inline_shrunk(average, f"Average of these {NUM_NEIGHBORS + 1} images"),
        "decoded": inline_shrunk(encoded.reconstructions.pixels[row], "Reconstruction"),
        "count": NUM_NEIGHBORS,
    }


def _describe_sigma(model: Model | None) -> dict[str, Any] | None:
    """Return the standard deviation of a Gaussian p(x|z), in grey levels."""
    if not isinstance(model, HasPixelLikelihood) or model.decoder_sigma is None:
        return None
    levels = format_number(255 * model.decoder_sigma, 2)
    return {"levels": levels, "learned": model.decoder_sigma_is_learned}
