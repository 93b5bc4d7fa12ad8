"""ELBO surgery (Hoffman & Johnson 2016): how much of the KL term is information about the image.

Averaged over the images,

    E KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)),  q(z) = E q(z|x).

The second term is what the samples of the prior miss: regions where no image is encoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.evaluation.estimates import estimate_mean
from pinxit.evaluation.metrics import MetricValue
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.models.protocols import CanEncode
from pinxit.models.results import LatentPosterior
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.inputs import match_labels
from pinxit.sampling.observation import observe_images

MAX_FLOPS = 2e11  # of all pairs
ROWS_PER_BLOCK = 500  # of the matrix of log q(z_i|x_j); bounds memory

PerImage = Float64[np.ndarray, " n"]


class Aggregate(NamedTuple):
    """The information about the image in one sample z_i of each q(z|x_i)."""

    information: PerImage  # log q(z_i|x_i) - log q(z_i), nats
    responsibility: PerImage  # sum over i of q(z_i|x_j) / sum_j q(z_i|x_j); 1 on average


def surgery_metrics(
    model: CanEncode, images: Images, rate: PerImage, seed: int = 0
) -> Iterator[MetricValue]:
    """Yield I(x; z) and KL(q(z) || p(z)); `rate` is KL(q(z|x) || p(z)) of each image.

    q(z) is the mixture of the posteriors of these n images. The first is thus at most log n, and
    a lower bound of that over all images that there could be; the second is an upper bound.
    Errors include that other images would also give another q(z) (infinitesimal jackknife). Of a
    posterior whose densities are slow it is measured on fewer images: `count_surgery_images`.
    Points, whose scale is arbitrary, have none of this.
    """
    if has_point_posterior(model):
        return
    rows = evenly_spaced_indices(len(images), count_surgery_images(model, images))
    images, rate = images.take(rows), rate[rows]
    posterior = model.encode(observe_images(model, images, seed)).flatten()
    seeds = image_seeds(images, seed, Draw.AGGREGATE)
    noise = per_image_normal(len(images), posterior.mean.shape[1:], seeds)
    aggregate = compare_with_aggregate(posterior, noise)
    # the mean is that of `information`; the second term is the influence of x_j through q(z)
    information = aggregate.information - (aggregate.responsibility - 1)
    yield "mutual_information", estimate_mean(information, images.groups)
    yield "marginal_kl", estimate_mean(rate - information, images.groups)


def surgery_protocol(model: CanEncode, images: Images) -> dict[str, Any]:
    """Return what bounds the estimate of I(x; z); nothing where it is not estimated."""
    if has_point_posterior(model):
        return {}
    count = count_surgery_images(model, images)
    return {"images": count, "upper_limit_of_mutual_information": math.log(count)}


def count_surgery_images(model: CanEncode, images: Images) -> int:
    """Return how many of the images are compared, each with each, in about half a minute."""
    if len(images) == 0:
        return 0
    posterior = model.encode(match_labels(model, images[:1])).flatten()
    if posterior.is_gaussian:
        return len(images)
    return max(1, min(len(images), math.isqrt(int(MAX_FLOPS / posterior.flops_per_pair))))


def compare_with_aggregate(
    posterior: LatentPosterior, noise: Float[Tensor, "n latent"]
) -> Aggregate:
    """Compare log q(z_i|x_i) with log q(z_i), at a z_i of each posterior, of the noise."""
    z, own = posterior.draw(noise.double().numpy())
    n, log_q = len(z), []
    responsibility = torch.zeros(n, dtype=torch.float64)
    for start in range(0, n, ROWS_PER_BLOCK):
        joint = torch.from_numpy(posterior.log_prob(z[start : start + ROWS_PER_BLOCK]))
        log_sum = joint.logsumexp(1)
        log_q.append(log_sum - math.log(n))
        responsibility += (joint - log_sum[:, None]).float().exp().sum(0)
    return Aggregate(own - torch.cat(log_q).numpy(), responsibility.numpy())
