"""The metrics of an evaluation: name, title, unit, and which direction is better.

An evaluator yields (name, value); a metric per language is named `name:fr`, a likelihood given the
label of each image `name:label`. A value is an
`Estimate`, a `Curve`, or a `Fact` or `Axis` that has no sampling error. `evaluation.json` has

    metrics   {name: number}, the names in `METRICS`; the standard error of `x` is `x_error`
    facts     {name: number}, counts and settings, named in `METRICS` too
    curves    {name: [numbers]}, the names in `CURVES`; the standard errors of `x` are `x_error`
    protocol  how they were measured: split, counts, feature space, seed, date, machine, versions
    warnings  [text]
    verdict   {state, evidence, remedy, effect, command}, as of `pinxit.training.verdict`
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.evaluation.estimates import Curve, Estimate, Groups, estimate_proportion


@dataclass(frozen=True)
class Fact:
    """A count or a setting: a number without a sampling error, such as the number of latents."""

    value: float


@dataclass(frozen=True)
class Axis:
    """The positions that a curve's values belong to, such as frequencies."""

    values: Sequence[float] | np.ndarray


Value = Estimate | Fact | Curve | Axis
MetricValue = tuple[str, Value]


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    title: str
    unit: str
    better: Literal["higher", "lower", "near 1", ""]
    group: str


GIVEN_LABEL = "label"  # variant of a metric that is conditional on the label of each image
LIKELIHOOD = "likelihood"
DISENTANGLEMENT = "disentanglement, on new scenes"
CODES = "image tokens"
TEXT_TO_IMAGE = "text to image"
TEXT = "captions"
EDITING = "editing"
INPAINTING = "inpainting, error on the mask"
FRECHET = "Frechet distance"
PROBE = "labels from features"

METRICS = {
    "log_likelihood": Metric("log-likelihood", "nats", "higher", LIKELIHOOD),
    "log_likelihood_bits_per_dim": Metric(
        "negative log-likelihood", "bits/dim", "lower", LIKELIHOOD
    ),
    "log_likelihood_half": Metric("log-likelihood, k/2 samples", "nats", "higher", LIKELIHOOD),
    "log_likelihood_quarter": Metric("log-likelihood, k/4 samples", "nats", "higher", LIKELIHOOD),
    "iw_gain": Metric("gain from k/2 to k samples", "nats", "lower", LIKELIHOOD),
    "bound_gap": Metric("log-likelihood less ELBO, of the same images", "nats", "", LIKELIHOOD),
    "elbo": Metric("ELBO", "nats", "higher", LIKELIHOOD),
    "elbo_bits_per_dim": Metric("negative ELBO", "bits/dim", "lower", LIKELIHOOD),
    "png_bits": Metric("the same images as PNG", "bits/dim", "", LIKELIHOOD),
    "webp_bits": Metric("the same images as lossless WebP", "bits/dim", "", LIKELIHOOD),
    "distortion": Metric("reconstruction term, -E log p(x|z)", "nats", "lower", LIKELIHOOD),
    "rate": Metric("KL term, KL(q(z|x) || p(z))", "nats", "", LIKELIHOOD),
    "mutual_information": Metric("I(x; z), lower bound", "nats", "", LIKELIHOOD),
    "marginal_kl": Metric("KL(q(z) || p(z)), upper bound", "nats", "lower", LIKELIHOOD),
    "pareto_k_share": Metric("images with Pareto k above 0.7", "fraction", "lower", LIKELIHOOD),
    "effective_samples": Metric(
        "effective sample size (5 % quantile)", "samples", "higher", LIKELIHOOD
    ),
    "palette_loss_share": Metric("images that the palette alters", "fraction", "lower", LIKELIHOOD),
    "latents": Metric("latents", "", "", "latents"),
    "latent_channels": Metric("channels of the grid of latents", "", "", "latents"),
    "levels": Metric("levels of latents", "", "", "latents"),
    "active_units": Metric("active units", "units", "higher", "latents"),
    "mig": Metric("MIG (mutual information gap)", "0-1", "higher", DISENTANGLEMENT),
    "dci_disentanglement": Metric("DCI disentanglement", "0-1", "higher", DISENTANGLEMENT),
    "dci_completeness": Metric("DCI completeness", "0-1", "higher", DISENTANGLEMENT),
    "dci_informativeness": Metric("DCI informativeness", "accuracy", "higher", DISENTANGLEMENT),
    "psnr": Metric("PSNR", "dB", "higher", "reconstruction"),
    "ssim": Metric("SSIM", "", "higher", "reconstruction"),
    "mse": Metric("MSE", "", "lower", "reconstruction"),
    "codebook_size": Metric("codebook size", "codes", "", CODES),
    "codes_used": Metric("codes used", "codes", "higher", CODES),
    "code_perplexity": Metric("perplexity of code usage", "codes", "higher", CODES),
    "code_bits": Metric("entropy per image", "bits", "", CODES),
    "t2i_exact": Metric("exact match", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_objects": Metric("objects correct", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_relations": Metric("relations correct", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_count": Metric("object count correct", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_shape": Metric("shapes correct", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_color": Metric("colors correct", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_size": Metric("sizes correct", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_reader_ceiling": Metric("exact match, true images", "fraction", "", TEXT_TO_IMAGE),
    "sample_label_accuracy": Metric("classifier accuracy", "fraction", "higher", TEXT_TO_IMAGE),
    "real_label_accuracy": Metric("classifier, true images", "fraction", "", TEXT_TO_IMAGE),
    "t2i_recall_at_1": Metric("retrieval R@1", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_recall_at_5": Metric("retrieval R@5", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_recall_at_10": Metric("retrieval R@10", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_recall_gain_at_1": Metric("R@1 above the baseline", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_recall_gain_at_5": Metric("R@5 above the baseline", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_recall_gain_at_10": Metric("R@10 above the baseline", "fraction", "higher", TEXT_TO_IMAGE),
    "t2i_retrieval_candidates": Metric("images to retrieve from", "images", "", TEXT_TO_IMAGE),
    "nn_recall_at_1": Metric("nearest neighbour R@1 (baseline)", "fraction", "", TEXT_TO_IMAGE),
    "nn_recall_at_5": Metric("nearest neighbour R@5 (baseline)", "fraction", "", TEXT_TO_IMAGE),
    "nn_recall_at_10": Metric("nearest neighbour R@10 (baseline)", "fraction", "", TEXT_TO_IMAGE),
    "caption_exact": Metric("exact match", "fraction", "higher", TEXT),
    "bleu": Metric("BLEU", "0-100", "higher", TEXT),
    "chrf": Metric("chrF", "0-100", "higher", TEXT),
    "bleu_gain": Metric("BLEU above the baseline", "0-100", "higher", TEXT),
    "chrf_gain": Metric("chrF above the baseline", "0-100", "higher", TEXT),
    "nn_baseline_bleu": Metric("nearest neighbour BLEU (baseline)", "0-100", "", TEXT),
    "nn_baseline_chrf": Metric("nearest neighbour chrF (baseline)", "0-100", "", TEXT),
    "distinct_caption_ratio": Metric("distinct captions, ratio to true", "", "near 1", TEXT),
    "caption_recall_at_1": Metric("retrieval R@1", "fraction", "higher", TEXT),
    "caption_recall_at_5": Metric("retrieval R@5", "fraction", "higher", TEXT),
    "caption_recall_at_10": Metric("retrieval R@10", "fraction", "higher", TEXT),
    "caption_retrieval_candidates": Metric("images to retrieve from", "images", "", TEXT),
    "edit_exact": Metric("exact match", "fraction", "higher", EDITING),
    "edit_applied": Metric("edit applied", "fraction", "higher", EDITING),
    "edit_preserved": Metric("rest preserved", "fraction", "higher", EDITING),
    "edit_reader_ceiling": Metric("exact match, true images", "fraction", "", EDITING),
    "edit_psnr": Metric("PSNR to the true edit", "dB", "higher", EDITING),
    "identity_psnr": Metric("PSNR of the input (baseline)", "dB", "", EDITING),
    "masked_mse_50": Metric("MSE, 50 % masked", "", "lower", INPAINTING),
    "masked_mse_75": Metric("MSE, 75 % masked", "", "lower", INPAINTING),
    "masked_mse_85": Metric("MSE, 85 % masked", "", "lower", INPAINTING),
    "masked_mse_95": Metric("MSE, 95 % masked", "", "lower", INPAINTING),
    "masked_mse_half": Metric("MSE, lower half", "", "lower", INPAINTING),
    "masked_mse_mean_fill": Metric("MSE, mean fill (baseline)", "", "", INPAINTING),
    "probe_accuracy": Metric("linear probe accuracy", "fraction", "higher", PROBE),
    "probe_layer": Metric("layer (best on validation)", "", "", PROBE),
    "probe_inverse_regularization": Metric("C (best on validation)", "", "", PROBE),
    "neighbour_accuracy": Metric("20 nearest neighbours", "fraction", "higher", PROBE),
    "probe_train_images": Metric("training images", "images", "", PROBE),
    "palette_psnr": Metric("PSNR of the palette alone", "dB", "higher", "reconstruction"),
    "sharpness_reconstructions": Metric("reconstructions", "of data", "near 1", "sharpness"),
    "sharpness_samples": Metric("samples", "of data", "near 1", "sharpness"),
    "classifier_accuracy": Metric(
        "classifier of samples and true images (0.5 is best)", "fraction", "lower", "samples"
    ),
    "frechet_samples": Metric("samples to test", "", "lower", FRECHET),
    "frechet_reconstructions": Metric("reconstructions to test", "", "lower", FRECHET),
    "frechet_train_test": Metric("training to test (floor)", "", "", FRECHET),
    "frechet_blur_baseline": Metric("blurred test to test (baseline)", "", "", FRECHET),
    "kid_samples": Metric("KID of samples to test (0 expected)", "", "lower", FRECHET),
    "fid_samples": Metric("FID of samples (Inception)", "", "lower", FRECHET),
    "fid_train_test": Metric("FID of training to test (floor)", "", "", FRECHET),
    "precision": Metric("precision", "", "higher", "samples"),
    "recall": Metric("recall", "", "higher", "samples"),
    "density": Metric("density", "", "near 1", "samples"),
    "coverage": Metric("coverage", "", "higher", "samples"),
    "memorisation": Metric("memorisation: copies of training images", "fraction", "", "samples"),
    "memorisation_control": Metric(
        "the same of held-out images (control)", "fraction", "", "samples"
    ),
}

CURVES = {
    "probe_by_layer": "linear probe accuracy after each layer, on validation images",
    "kl_per_latent": "KL of each latent, or channel, nats; not defined for a learned prior",
    "kl_per_level": "KL of each level of a ladder of latents, nats, from coarse to fine",
    "posterior_mean_variance": "variance over images of each latent's posterior mean",
    "frequencies": "spatial frequency, cycles per pixel",
    "spectrum_data": "power of the test images at each frequency",
    "spectrum_reconstructions": "power of the reconstructions relative to the data",
    "spectrum_samples": "power of the samples relative to the data",
}


def proportion(
    name: str, outcomes: Sequence[bool], groups: Groups | None = None
) -> Iterator[MetricValue]:
    """Yield the fraction of true outcomes with its standard error, over groups if given."""
    yield name, estimate_proportion(np.array(outcomes, bool), groups)


def with_names(metrics: Iterable[MetricValue], names: Sequence[str]) -> Iterator[MetricValue]:
    """Yield the metrics, with the names of the images at those that have a value per image."""
    for name, value in metrics:
        per_image = value.per_image if isinstance(value, Estimate) else None
        if per_image is not None and len(per_image) == len(names):
            assert isinstance(value, Estimate)
            value = value if len(value.names) else dataclasses.replace(value, names=names)
        yield name, value


def with_spaced_names(metrics: Iterable[MetricValue], images: Images) -> Iterator[MetricValue]:
    """Yield metrics of some of these images, evenly spaced, with the names of the images."""
    for name, value in metrics:
        per_image = value.per_image if isinstance(value, Estimate) else None
        count = 0 if per_image is None else len(per_image)
        rows = evenly_spaced_indices(len(images), count) if len(images.names) else ()
        yield from with_names([(name, value)], [images.names[int(i)] for i in rows])


class Collected(NamedTuple):
    """What evaluators yielded, by kind."""

    metrics: dict[str, float | None]  # with their errors; None for an unknown one
    curves: dict[str, list[Any]]  # of numbers; None for an unknown error
    facts: dict[str, float]
    estimates: dict[str, Estimate]


def collect(values: Iterable[MetricValue]) -> Collected:
    """Sort what evaluators yielded into metrics, curves and facts.

    The error of `x` is `x_error`; None if it is unknown, as that of a single image. Raises
    TypeError for a plain number or list: each metric has an error.
    """
    collected = Collected({}, {}, {}, {})
    metrics, curves, facts, estimates = collected
    for name, value in values:
        if isinstance(value, Axis):
            curves[name] = [float(number) for number in value.values]
        elif isinstance(value, Curve):
            curves[name] = value.values.tolist()
            curves[f"{name}_error"] = [None if math.isnan(e) else e for e in value.errors.tolist()]
        elif isinstance(value, Fact):
            facts[name] = float(value.value)
        elif isinstance(value, Estimate):
            metrics[name], estimates[name] = value.value, value
            metrics[f"{name}_error"] = None if math.isnan(value.error) else value.error
        else:
            raise TypeError(
                f"'{name}' has no error: yield an Estimate or a Curve, or a Fact for a setting."
            )
    return collected


def get_metric(name: str) -> Metric:
    """Return the metric of a name; that of `name:fr` has the language in its title."""
    base, _, variant = name.partition(":")
    metric = METRICS[base]
    if not variant:
        return metric
    variant = "given the label" if variant == GIVEN_LABEL else variant
    return dataclasses.replace(metric, title=f"{metric.title} ({variant})")


def sort_metric_names(names: Iterable[str]) -> list[str]:
    """Return the names of metrics, without errors and unknown names, in the order of `METRICS`."""
    order = {name: i for i, name in enumerate(METRICS)}
    known = [
        name
        for name in dict.fromkeys(names)
        if name.partition(":")[0] in order and not name.endswith("_error")
    ]
    return sorted(known, key=lambda name: order[name.partition(":")[0]])


def group_metrics(metrics: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each group and the names of its metrics, in the order of `METRICS`."""
    names = sort_metric_names(metrics)
    for group in dict.fromkeys(get_metric(name).group for name in names):
        yield group, [name for name in names if get_metric(name).group == group]
