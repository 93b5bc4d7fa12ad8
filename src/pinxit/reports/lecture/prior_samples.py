"""The slide on sampling: a Gaussian z, decoded, with the numbers of the run."""

from __future__ import annotations

import numpy as np

from pinxit.models.protocols import CanEncode, CanSample, HasELBO
from pinxit.nn.rng import per_image_normal
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.lecture.vectors import MAX_BARS, draw_vector
from pinxit.reports.sections import inline_shrunk
from pinxit.sampling.inputs import is_label_conditional
from pinxit.sampling.prior_noise import noise_map

TITLE = "Sample a Gaussian z, decode"
NUM_SAMPLES = 6
NUM_NUMBERS = 4  # of each z that are written out
BAR_LIMIT = 3.0  # standard deviations of the prior


def prior_samples(context: ReportContext) -> Slide | None:
    """Show the noise of the first samples of the report beside what it decodes to."""
    model, samples = context.model, context.samples
    if not isinstance(model, CanEncode) or not isinstance(model, HasELBO):
        return None
    if not isinstance(model, CanSample) or samples is None:
        return None
    noise = per_image_normal(NUM_SAMPLES, (model.latent_dim,), 0).numpy()
    rows = [
        {
            "numbers": _write_numbers(z),
            "bars": draw_vector(z, f"The numbers of sample {i + 1}", BAR_LIMIT, color=4),
            "image": inline_shrunk(samples.pixels[i], f"Sample {i + 1}"),
        }
        for i, z in enumerate(noise)
    ]
    values = {
        "rows": rows,
        "latent_dim": model.latent_dim,
        "num_bars": min(MAX_BARS, model.latent_dim),
        "dims": context.run.info.dims,
        "mean": format_number(float(noise.mean()), 2),
        "std": format_number(float(noise.std()), 2),
        "noise_map": noise_map(model, context.posterior),
        "labels": is_label_conditional(model),
    }
    code = (locate(type(model).sample), locate(per_image_normal), locate(type(model).decode))
    return Slide("prior_samples", TITLE, values, code)


def _write_numbers(z: np.ndarray) -> str:
    numbers = ", ".join(f"{value:.2f}".replace("-", "−") for value in z[:NUM_NUMBERS].tolist())
    return f"({numbers}{', …' if len(z) > NUM_NUMBERS else ''})"
