"""The figures of an evaluation: what each is called, its unit, and which way is better.

An evaluator yields (name, value), a figure by language as `name:fr`. A value is a number, or a list
for a curve; the standard error of the figure `x` is the figure `x_error`. `evaluation.json` holds

    figures   {name: number}, the names of `METRICS` and their errors
    curves    {name: [numbers]}, the names of `CURVES`
    protocol  how they were measured: split, counts, samples, feature space, seed, date, machine
    warnings  [text], what to be wary of
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Value = float | list[float]
MetricValue = tuple[str, Value]


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation gives."""

    title: str
    unit: str
    better: Literal["higher", "lower", "near 1", ""]
    group: str


DRAWN = "drawn as the words say"
WORDED = "words"
EDITED = "edited as the words say"
COMPLETED = "squared error of completions"
PROBED = "labels from features"

METRICS = {
    "log_likelihood": Metric("log-likelihood", "nats", "higher", "likelihood"),
    "log_likelihood_bits_per_dim": Metric("the same", "bits/dim", "lower", "likelihood"),
    "elbo": Metric("ELBO", "nats", "higher", "likelihood"),
    "elbo_bits_per_dim": Metric("the same", "bits/dim", "lower", "likelihood"),
    "distortion": Metric("distortion, -log p(x|z)", "nats", "lower", "likelihood"),
    "rate": Metric("rate, KL(q(z|x) to p(z))", "nats", "", "likelihood"),
    "effective_samples": Metric("effective samples (median)", "samples", "higher", "likelihood"),
    "latents": Metric("latents", "", "", "latents"),
    "active_units": Metric("active units", "latents", "higher", "latents"),
    "psnr": Metric("PSNR", "dB", "higher", "reconstruction"),
    "ssim": Metric("SSIM", "", "higher", "reconstruction"),
    "mse": Metric("mean squared error", "of 0..1", "lower", "reconstruction"),
    "codebook_size": Metric("codes there are", "codes", "", "codes"),
    "codes_used": Metric("used by the test images", "codes", "higher", "codes"),
    "code_perplexity": Metric("perplexity of their use", "codes", "higher", "codes"),
    "code_bits": Metric("an image's codes, at that use", "bits", "", "codes"),
    "t2i_exact": Metric("all of it right", "share", "higher", DRAWN),
    "t2i_objects": Metric("each form in its colour and size", "share", "higher", DRAWN),
    "t2i_relations": Metric("and where it is said", "share", "higher", DRAWN),
    "t2i_count": Metric("as many things", "share", "higher", DRAWN),
    "t2i_shape": Metric("forms", "share", "higher", DRAWN),
    "t2i_color": Metric("colours", "share", "higher", DRAWN),
    "t2i_size": Metric("sizes", "share", "higher", DRAWN),
    "t2i_reader_ceiling": Metric("of the true images (yardstick)", "share", "", DRAWN),
    "sample_label_accuracy": Metric("label told by a classifier", "share", "higher", DRAWN),
    "real_label_accuracy": Metric("of the true images (yardstick)", "share", "", DRAWN),
    "t2i_recall_at_1": Metric("its true image the nearest of 100", "share", "higher", DRAWN),
    "t2i_recall_at_5": Metric("among the 5 nearest", "share", "higher", DRAWN),
    "t2i_recall_at_10": Metric("among the 10 nearest", "share", "higher", DRAWN),
    "nn_recall_at_1": Metric("nearest caption's training image (yardstick)", "share", "", DRAWN),
    "nn_recall_at_5": Metric("among the 5 nearest (yardstick)", "share", "", DRAWN),
    "nn_recall_at_10": Metric("among the 10 nearest (yardstick)", "share", "", DRAWN),
    "caption_exact": Metric("exact match", "share", "higher", WORDED),
    "bleu": Metric("BLEU", "of 100", "higher", WORDED),
    "chrf": Metric("chrF", "of 100", "higher", WORDED),
    "nn_baseline_chrf": Metric("chrF of the nearest image's (yardstick)", "of 100", "", WORDED),
    "distinct_caption_ratio": Metric("different captions, of true ones", "share", "near 1", WORDED),
    "caption_recall_at_1": Metric("its image the likeliest", "share", "higher", WORDED),
    "caption_recall_at_5": Metric("among the 5 likeliest", "share", "higher", WORDED),
    "caption_recall_at_10": Metric("among the 10 likeliest", "share", "higher", WORDED),
    "edit_exact": Metric("the change and nothing else", "share", "higher", EDITED),
    "edit_applied": Metric("the change made", "share", "higher", EDITED),
    "edit_preserved": Metric("all else kept", "share", "higher", EDITED),
    "edit_reader_ceiling": Metric("of the true images (yardstick)", "share", "", EDITED),
    "edit_psnr": Metric("PSNR to the true image after", "dB", "higher", EDITED),
    "identity_psnr": Metric("of the image before (yardstick)", "dB", "", EDITED),
    "masked_mse_50": Metric("50 % of patches missing", "of 0..1", "lower", COMPLETED),
    "masked_mse_75": Metric("75 %", "of 0..1", "lower", COMPLETED),
    "masked_mse_85": Metric("85 %", "of 0..1", "lower", COMPLETED),
    "masked_mse_95": Metric("95 %", "of 0..1", "lower", COMPLETED),
    "masked_mse_half": Metric("lower half", "of 0..1", "lower", COMPLETED),
    "masked_mse_mean_fill": Metric("mean of the rest (yardstick)", "of 0..1", "", COMPLETED),
    "probe_accuracy": Metric("linear probe", "share", "higher", PROBED),
    "probe_layer": Metric("its layer", "", "", PROBED),
    "neighbour_accuracy": Metric("20 nearest neighbours", "share", "higher", PROBED),
    "probe_train_images": Metric("learned from", "images", "", PROBED),
    "palette_psnr": Metric("PSNR of the palette alone", "dB", "higher", "reconstruction"),
    "sharpness_reconstructions": Metric("reconstructions", "of data", "near 1", "sharpness"),
    "sharpness_samples": Metric("samples", "of data", "near 1", "sharpness"),
    "frechet_samples": Metric("samples to test", "", "lower", "Frechet distance"),
    "frechet_reconstructions": Metric("reconstructions to test", "", "lower", "Frechet distance"),
    "frechet_train_test": Metric(
        "training to test (floor for samples)", "", "", "Frechet distance"
    ),
    "frechet_blur_baseline": Metric("blurred test to test (yardstick)", "", "", "Frechet distance"),
    "fid_samples": Metric("FID of samples (Inception)", "", "lower", "Frechet distance"),
    "precision": Metric("precision", "", "higher", "samples"),
    "recall": Metric("recall", "", "higher", "samples"),
    "density": Metric("density", "", "near 1", "samples"),
    "coverage": Metric("coverage", "", "higher", "samples"),
    "memorisation": Metric("nearer to training than 1 % of test", "share", "", "samples"),
}

CURVES = {
    "probe_by_layer": "accuracy of a linear probe on the features after each layer",
    "kl_per_latent": "KL of each latent, nats",
    "posterior_mean_variance": "variance over the images of each latent's posterior mean",
    "frequencies": "spatial frequency, cycles a pixel",
    "spectrum_data": "power of the test images at each frequency",
    "spectrum_reconstructions": "power of the reconstructions over that of the data",
    "spectrum_samples": "power of the samples over that of the data",
}


def proportion(name: str, found: Sequence[bool]) -> Iterator[MetricValue]:
    """A share and its standard error."""
    p = sum(map(bool, found)) / len(found)
    yield name, p
    yield f"{name}_error", math.sqrt(p * (1 - p) / len(found))


def collect(named: Iterable[MetricValue]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """What evaluators yielded, as figures and curves."""
    figures: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    for name, value in named:
        if isinstance(value, list):
            curves[name] = [float(number) for number in value]
        else:
            figures[name] = float(value)
    return figures, curves


def get_metric(name: str) -> Metric:
    """What a name is; of `name:fr` with the language in its title."""
    known, _, language = name.partition(":")
    found = METRICS[known]
    return dataclasses.replace(found, title=f"{found.title} ({language})") if language else found


def sort_metric_names(names: Iterable[str]) -> list[str]:
    """The names of figures among these, errors left out, in the order of `METRICS`."""
    order = {name: i for i, name in enumerate(METRICS)}
    known = [
        name
        for name in dict.fromkeys(names)
        if name.partition(":")[0] in order and not name.endswith("_error")
    ]
    return sorted(known, key=lambda name: order[name.partition(":")[0]])


def group_metrics(figures: dict[str, float]) -> Iterator[tuple[str, list[str]]]:
    """The names of the figures that there are, in the order of `METRICS`, by group."""
    present = sort_metric_names(figures)
    for group in dict.fromkeys(get_metric(name).group for name in present):
        yield group, [name for name in present if get_metric(name).group == group]
