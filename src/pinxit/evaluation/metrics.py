"""The figures of an evaluation: what each is called, its unit, and which way is better.

An evaluator yields (name, value), a figure by language as `name:fr`. A value is a number, or a list
for a curve; the standard error of the figure `x` is the figure `x_error`. `evaluation.json` holds

    figures   {name: number}, the names of `FIGURES` and their errors
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
Named = tuple[str, Value]


@dataclass(frozen=True)
class Figure:
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

FIGURES = {
    "log_likelihood": Figure("log-likelihood", "nats", "higher", "likelihood"),
    "log_likelihood_bits_per_dim": Figure("the same", "bits/dim", "lower", "likelihood"),
    "elbo": Figure("ELBO", "nats", "higher", "likelihood"),
    "elbo_bits_per_dim": Figure("the same", "bits/dim", "lower", "likelihood"),
    "distortion": Figure("distortion, -log p(x|z)", "nats", "lower", "likelihood"),
    "rate": Figure("rate, KL(q(z|x) to p(z))", "nats", "", "likelihood"),
    "effective_samples": Figure("effective samples (median)", "samples", "higher", "likelihood"),
    "latents": Figure("latents", "", "", "latents"),
    "active_units": Figure("active units", "latents", "higher", "latents"),
    "psnr": Figure("PSNR", "dB", "higher", "reconstruction"),
    "ssim": Figure("SSIM", "", "higher", "reconstruction"),
    "mse": Figure("mean squared error", "of 0..1", "lower", "reconstruction"),
    "codes": Figure("codes there are", "codes", "", "codes"),
    "codes_used": Figure("used by the test images", "codes", "higher", "codes"),
    "code_perplexity": Figure("perplexity of their use", "codes", "higher", "codes"),
    "code_bits": Figure("an image's codes, at that use", "bits", "", "codes"),
    "drawn_exact": Figure("all of it right", "share", "higher", DRAWN),
    "drawn_things": Figure("each form in its colour and size", "share", "higher", DRAWN),
    "drawn_where": Figure("and where it is said", "share", "higher", DRAWN),
    "drawn_count": Figure("as many things", "share", "higher", DRAWN),
    "drawn_forms": Figure("forms", "share", "higher", DRAWN),
    "drawn_colours": Figure("colours", "share", "higher", DRAWN),
    "drawn_sizes": Figure("sizes", "share", "higher", DRAWN),
    "reader_exact": Figure("of the true images (yardstick)", "share", "", DRAWN),
    "drawn_label": Figure("label told by a classifier", "share", "higher", DRAWN),
    "true_label": Figure("of the true images (yardstick)", "share", "", DRAWN),
    "drawn_recall_1": Figure("its true image the nearest of 100", "share", "higher", DRAWN),
    "drawn_recall_5": Figure("among the 5 nearest", "share", "higher", DRAWN),
    "drawn_recall_10": Figure("among the 10 nearest", "share", "higher", DRAWN),
    "neighbour_recall_1": Figure(
        "nearest caption's training image (yardstick)", "share", "", DRAWN
    ),
    "neighbour_recall_5": Figure("among the 5 nearest (yardstick)", "share", "", DRAWN),
    "neighbour_recall_10": Figure("among the 10 nearest (yardstick)", "share", "", DRAWN),
    "caption_exact": Figure("exact match", "share", "higher", WORDED),
    "bleu": Figure("BLEU", "of 100", "higher", WORDED),
    "chrf": Figure("chrF", "of 100", "higher", WORDED),
    "neighbour_chrf": Figure("chrF of the nearest image's (yardstick)", "of 100", "", WORDED),
    "captions_told_apart": Figure("different captions, of true ones", "share", "near 1", WORDED),
    "recall_1": Figure("its image the likeliest", "share", "higher", WORDED),
    "recall_5": Figure("among the 5 likeliest", "share", "higher", WORDED),
    "recall_10": Figure("among the 10 likeliest", "share", "higher", WORDED),
    "edited_exact": Figure("the change and nothing else", "share", "higher", EDITED),
    "edited_asked": Figure("the change made", "share", "higher", EDITED),
    "edited_kept": Figure("all else kept", "share", "higher", EDITED),
    "edit_reader_exact": Figure("of the true images (yardstick)", "share", "", EDITED),
    "edited_psnr": Figure("PSNR to the true image after", "dB", "higher", EDITED),
    "unedited_psnr": Figure("of the image before (yardstick)", "dB", "", EDITED),
    "masked_mse_50": Figure("50 % of patches missing", "of 0..1", "lower", COMPLETED),
    "masked_mse_75": Figure("75 %", "of 0..1", "lower", COMPLETED),
    "masked_mse_85": Figure("85 %", "of 0..1", "lower", COMPLETED),
    "masked_mse_95": Figure("95 %", "of 0..1", "lower", COMPLETED),
    "masked_mse_half": Figure("lower half", "of 0..1", "lower", COMPLETED),
    "masked_mse_guess": Figure("mean of the rest (yardstick)", "of 0..1", "", COMPLETED),
    "probe_accuracy": Figure("linear probe", "share", "higher", PROBED),
    "probe_layer": Figure("its layer", "", "", PROBED),
    "neighbour_accuracy": Figure("20 nearest neighbours", "share", "higher", PROBED),
    "probe_images": Figure("learned from", "images", "", PROBED),
    "palette_psnr": Figure("PSNR of the palette alone", "dB", "higher", "reconstruction"),
    "sharpness_reconstructions": Figure("reconstructions", "of data", "near 1", "sharpness"),
    "sharpness_samples": Figure("samples", "of data", "near 1", "sharpness"),
    "frechet_samples": Figure("samples to test", "", "lower", "Frechet distance"),
    "frechet_reconstructions": Figure("reconstructions to test", "", "lower", "Frechet distance"),
    "frechet_floor": Figure("training to test (floor for samples)", "", "", "Frechet distance"),
    "frechet_blurred": Figure("blurred test to test (yardstick)", "", "", "Frechet distance"),
    "fid_samples": Figure("FID of samples (Inception)", "", "lower", "Frechet distance"),
    "precision": Figure("precision", "", "higher", "samples"),
    "recall": Figure("recall", "", "higher", "samples"),
    "density": Figure("density", "", "near 1", "samples"),
    "coverage": Figure("coverage", "", "higher", "samples"),
    "memorised": Figure("nearer to training than 1 % of test", "share", "", "samples"),
}

CURVES = {
    "probe_by_layer": "accuracy of a linear probe on the features after each layer",
    "kl_per_latent": "KL of each latent, nats",
    "mean_variance": "variance over the images of each latent's posterior mean",
    "frequencies": "spatial frequency, cycles a pixel",
    "spectrum_data": "power of the test images at each frequency",
    "spectrum_reconstructions": "power of the reconstructions over that of the data",
    "spectrum_samples": "power of the samples over that of the data",
}


def share(name: str, found: Sequence[bool]) -> Iterator[Named]:
    """A share and its standard error."""
    p = sum(map(bool, found)) / len(found)
    yield name, p
    yield f"{name}_error", math.sqrt(p * (1 - p) / len(found))


def split_up(named: Iterable[Named]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """What evaluators yielded, as figures and curves."""
    figures: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    for name, value in named:
        if isinstance(value, list):
            curves[name] = [float(number) for number in value]
        else:
            figures[name] = float(value)
    return figures, curves


def figure(name: str) -> Figure:
    """What a name is; of `name:fr` with the language in its title."""
    known, _, language = name.partition(":")
    found = FIGURES[known]
    return dataclasses.replace(found, title=f"{found.title} ({language})") if language else found


def ordered(names: Iterable[str]) -> list[str]:
    """The names of figures among these, errors left out, in the order of `FIGURES`."""
    order = {name: i for i, name in enumerate(FIGURES)}
    known = [
        name
        for name in dict.fromkeys(names)
        if name.partition(":")[0] in order and not name.endswith("_error")
    ]
    return sorted(known, key=lambda name: order[name.partition(":")[0]])


def groups(figures: dict[str, float]) -> Iterator[tuple[str, list[str]]]:
    """The names of the figures that there are, in the order of `FIGURES`, by group."""
    present = ordered(figures)
    for group in dict.fromkeys(figure(name).group for name in present):
        yield group, [name for name in present if figure(name).group == group]
