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

from pinxit.data.images import Images
from pinxit.evaluation.estimates import estimate_mean
from pinxit.evaluation.metrics import MetricValue
from pinxit.models.protocols import CanEncode
from pinxit.models.results import Posterior
from pinxit.nn.image_seeds import Draw, image_seeds
from pinxit.nn.rng import per_image_normal
from pinxit.sampling.observation import observe_images

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
    Errors include that other images would also give another q(z) (infinitesimal jackknife).
    """
    posterior = model.encode(observe_images(model, images, seed)).flatten()
    seeds = image_seeds(images, seed, Draw.AGGREGATE)
    noise = per_image_normal(len(images), posterior.mean.shape[1:], seeds)
    aggregate = compare_with_aggregate(posterior, noise)
    # the mean is that of `information`; the second term is the influence of x_j through q(z)
    information = aggregate.information - (aggregate.responsibility - 1)
    yield "mutual_information", estimate_mean(information, images.groups)
    yield "marginal_kl", estimate_mean(rate - information, images.groups)


def surgery_protocol(count: int) -> dict[str, Any]:
    """Return what bounds the estimate of I(x; z)."""
    return {"images": count, "upper_limit_of_mutual_information": math.log(count)}


def compare_with_aggregate(posterior: Posterior, noise: Float[Tensor, "n latent"]) -> Aggregate:
    """Compare log q(z_i|x_i) with log q(z_i), at z_i = mean_i + std_i * noise_i."""
    mean, std = (torch.from_numpy(np.asarray(part, np.float64)) for part in posterior)
    noise = noise.double()
    z, n = mean + std * noise, len(mean)
    precision = std**-2
    # -1/2 sum (z - mean)^2 / std^2 - sum log std as matrix products, without constants
    offset = -0.5 * (mean.square() * precision).sum(1) - std.log().sum(1)
    own = -0.5 * noise.square().sum(1) - std.log().sum(1)
    log_q, responsibility = [], torch.zeros(n, dtype=torch.float64)
    for rows in z.split(ROWS_PER_BLOCK):
        joint = rows @ (mean * precision).T - 0.5 * rows.square() @ precision.T + offset
        log_sum = joint.logsumexp(1)
        log_q.append(log_sum - math.log(n))
        responsibility += (joint - log_sum[:, None]).float().exp().sum(0)
    return Aggregate((own - torch.cat(log_q)).numpy(), responsibility.numpy())
