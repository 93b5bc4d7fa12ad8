"""How the latents are used: KL per latent, active units, and signs of posterior collapse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from pinxit.data.images import Images
from pinxit.evaluation.estimates import (
    Curve,
    Estimate,
    Groups,
    bootstrap_error,
    bootstrap_weights,
    estimate_curve,
)
from pinxit.evaluation.metrics import Fact, MetricValue
from pinxit.sampling.latents import ACTIVE_UNIT_VARIANCE, LatentActivity

MIN_TOTAL_KL = 0.1  # nats per image; with less z hardly distinguishes two images
MIN_VARIANCE_RATIO = 0.01  # of reconstructions to data
MIN_MATCHED, MIN_PAIRS = 0.75, 20  # 0.5: reconstructions that do not depend on the image


def latent_metrics(activity: LatentActivity, images: Images) -> Iterator[MetricValue]:
    """Yield the number of latents and of active units, A_u = Var_x(E[z_u|x]) > 0.01.

    (Burda 2015, sec. 5.) Of a learned prior z = f(u) they are latents of u, whose prior variance is
    1 as well; of a grid or a ladder of latents they are its channels; of a point in place of q(z|x)
    those of more than a hundredth of the mean variance. The KL per latent, or
    channel, is yielded where it is a KL: of the standard prior.
    """
    yield "latents", Fact(activity.mean.shape[1])
    if activity.num_channels is not None:
        yield "latent_channels", Fact(activity.num_channels)
    if activity.levels:
        yield "levels", Fact(len(activity.levels))
    n, groups = len(activity.mean), images.groups
    num_groups = n if groups is None else len(np.unique(groups))
    variances = _resample_variance(activity, groups)
    active = activity.are_active(variances).sum(1)
    yield (
        "active_units",
        Estimate(float(activity.active.sum()), bootstrap_error(active, num_groups)),
    )
    if activity.image_rate is not None:
        images = images.evenly_spaced(len(activity.image_rate))
        yield "kl_per_latent", estimate_curve(activity.image_rate, images.groups)
        if activity.level_rate is not None:
            yield "kl_per_level", estimate_curve(activity.level_rate, images.groups)
    if activity.is_point:
        return  # of any scale
    errors = [bootstrap_error(latent, num_groups) for latent in variances.T]
    yield "posterior_mean_variance", Curve(activity.variance.astype(float), np.array(errors))


def _resample_variance(
    activity: LatentActivity, groups: Groups | None
) -> Float64[np.ndarray, "replicates latent"]:
    """Variance of each unit's posterior mean over bootstrap samples of the images."""
    mean = activity.mean.astype(np.float64) - activity.mean.mean(0)
    weights = bootstrap_weights(len(mean), groups)
    weights /= weights.sum(1, keepdims=True)
    return activity.over_positions(weights @ mean**2 - (weights @ mean) ** 2)


def collapse_warnings(
    activity: LatentActivity,
    originals: Images | None = None,
    reconstructions: Images | None = None,
    *,
    undertrained: bool = False,
) -> Iterator[str]:
    """Yield a warning for each sign of posterior collapse (Bowman 2016): unused latents.

    A run that is `undertrained` does not use its latents yet, whatever its options.
    """
    signs = "latents not in use yet" if undertrained else "posterior collapse"
    if not activity.active.any():
        remedy = "" if undertrained else "; try a smaller --beta or a longer --kl-warmup"
        what = f"variance of the posterior mean above {ACTIVE_UNIT_VARIANCE}"
        if activity.is_point:
            what = "it differs between images"
        yield (
            f"{signs}: none of the {len(activity.variance)} {activity.unit}s is active ({what})"
            f"{remedy}"
        )
    elif activity.total_rate is not None and activity.total_rate < MIN_TOTAL_KL:
        yield f"{signs}: total KL is only {activity.total_rate:.2g} nats per image"
    elif activity.level_rate is not None:
        for number, rate in enumerate(activity.level_rate.mean(0).tolist(), 1):
            if rate < MIN_TOTAL_KL:
                yield f"level {number} of {len(activity.levels)} has a KL of only {rate:.2g} nats"
    if originals is None or reconstructions is None or len(originals) < 2:
        return
    ratio = pixel_variance(reconstructions) / max(pixel_variance(originals), 1e-9)
    if ratio < MIN_VARIANCE_RATIO:
        yield f"reconstructions hardly depend on the image: {ratio:.2%} of the data's variance"
        return
    matched = share_of_matched_pairs(originals, reconstructions)
    if len(originals) >= 2 * MIN_PAIRS and matched < MIN_MATCHED:
        yield (
            "reconstructions hardly depend on the image: of two images each reconstruction is "
            f"nearer to its own in {matched:.0%} of the pairs (50% by chance)"
        )


def share_of_matched_pairs(originals: Images, reconstructions: Images) -> float:
    """Return the share of pairs of images that their reconstructions are matched with rightly.

    Those of x and x' with reconstructions y and y', whose squared distances |x - y|^2 + |x' - y'|^2
    are less than those of the other way round, so (x - x') . (y - y') > 0. It is 0.5 where y is
    independent of x, also where it varies as much, as samples of an autoregressive head do.
    """
    half = len(originals) // 2
    x, y = (
        np.asarray(images.pixels[: 2 * half], np.float32).reshape(2, half, -1)
        for images in (originals, reconstructions)
    )
    return float(np.mean(((x[0] - x[1]) * (y[0] - y[1])).sum(1) > 0))


def pixel_variance(images: Images) -> float:
    """Return the variance of each pixel over the images, averaged, in squared grey levels."""
    return float(np.asarray(images.pixels, np.float32).var(0).mean())
