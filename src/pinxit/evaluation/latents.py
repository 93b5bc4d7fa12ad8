"""What the latents hold: KL of each, active units, and whether the posterior has collapsed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.metrics import MetricValue
from pinxit.sampling.latents import ACTIVE_UNIT_VARIANCE, LatentActivity

MIN_TOTAL_KL = 0.1  # nats: a code that says less tells no two images apart


def latent_metrics(found: LatentActivity) -> Iterator[MetricValue]:
    """Active units: latents whose posterior mean varies over the images by more than 0.01.

    A_u = Cov_x(E[z_u given x]) > 0.01 (Burda 2015, sec. 5).
    """
    yield "latents", len(found.variance)
    yield "active_units", int(found.active.sum())
    yield "kl_per_latent", found.rate.tolist()
    yield "posterior_mean_variance", found.variance.tolist()


def collapse_warnings(
    found: LatentActivity, originals: Images | None = None, reconstructions: Images | None = None
) -> Iterator[str]:
    """A line for each sign that the latents are not used (posterior collapse, Bowman 2016)."""
    if not found.active.any():
        yield (
            f"posterior collapse: none of the {len(found.variance)} latents is active (variance "
            f"of the posterior mean above {ACTIVE_UNIT_VARIANCE}); try a smaller --beta or "
            "a longer --kl-warmup"
        )
    elif found.rate.sum() < MIN_TOTAL_KL:
        yield f"posterior collapse: the latents hold {found.rate.sum():.2g} nats an image in all"
    if originals is None or reconstructions is None or len(originals) < 2:
        return
    share = pixel_variance(reconstructions) / max(pixel_variance(originals), 1e-9)
    if share < 0.01:
        yield f"reconstructions hardly depend on the image: {share:.2%} of the data's variance"


def pixel_variance(images: Images) -> float:
    """Variance over the images of each pixel, averaged; in squared grey levels."""
    return float(np.asarray(images.pixels, np.float32).var(0).mean())
