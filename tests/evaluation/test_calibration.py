"""The stated error of the importance-weighted likelihood against quadrature, with two latents."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pinxit.data.images import Images
from pinxit.evaluation.likelihood import iw_warnings, sampling_error
from pinxit.evaluation.log_weights import iw_log_likelihood
from pinxit.models import vae
from pinxit.models.vae.priors import StandardPrior
from pinxit.models.vae.proposal import propose
from pinxit.sampling.elbo import iter_likelihood_batches
from tests.builders import blobs

pytestmark = pytest.mark.slow

NUM_IMAGES, NUM_SEEDS = 16, 8


@pytest.fixture(scope="module", params=["standard", "flow"])
def small_vae(request):
    """A VAE of two latents after a short training, and images to score."""
    torch.manual_seed(0)
    images = blobs(240)
    options = {"latent_dim": 2, "network": "mlp", "width": 32, "depth": 1, "prior": request.param}
    config = vae.Config(likelihood="bernoulli", binarize="static", **options)
    model = vae.build(config, images.info())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(200):
        rows = np.random.default_rng(step).integers(0, 200, 32)
        optimizer.zero_grad()
        model.loss(images.batch(rows)).total.backward()
        optimizer.step()
    return model.eval(), images[200 : 200 + NUM_IMAGES]


@torch.inference_mode()
def log_p_by_quadrature(model, images: Images) -> np.ndarray:
    """log p(x) by the trapezoid rule over the noise u of z = f(u)."""
    (batch,) = iter_likelihood_batches(model, images, 0)
    axis = torch.linspace(-6, 6, 241)
    u = torch.cartesian_prod(axis, axis)
    log_prior = -0.5 * u.double().square().sum(1) - math.log(2 * math.pi)
    params = model.decode_params(model.prior.transform(u))
    log_p = [model.likelihood.log_prob(params, x).double() + log_prior for x in batch.x]
    return torch.stack(log_p).logsumexp(1).numpy() + 2 * math.log(axis[1] - axis[0])


def test_the_stated_error_is_the_true_one_or_a_warning_is_given(small_vae):
    model, images = small_vae
    exact = log_p_by_quadrature(model, images)
    deviations, stated, num_warned = [], [], 0
    for seed in range(NUM_SEEDS):
        estimate = iw_log_likelihood(model, images, 400, seed, defensive_share=0.1)
        deviations.append(np.mean(estimate.log_likelihood - exact))
        stated.append(sampling_error(estimate))
        num_warned += any(iw_warnings(estimate, 400))
    ratio = math.sqrt(np.mean(np.square(stated)) / np.mean(np.square(deviations)))
    # the true error of so many seeds is itself known to 1 / sqrt(2 * seeds)
    slack = 1 + 2 / math.sqrt(2 * NUM_SEEDS)
    assert 0.8 / slack < ratio < 1.25 * slack or num_warned == NUM_SEEDS


def test_a_missed_mode_is_found_by_the_defensive_samples():
    """p(z|x) has two modes, q(z|x) one: without wide samples half of p(x) is missed, in silence."""
    mean, logvar = torch.tensor([2.0]), torch.tensor([math.log(0.04)])
    prior = StandardPrior()

    def log_weights(share: float) -> torch.Tensor:
        noise = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
        uniforms = torch.rand(200_000, generator=torch.Generator().manual_seed(1))
        proposed = propose(mean, logvar, noise, prior, uniforms, share)
        z = proposed.z[:, 0]
        log_p_x = torch.logaddexp(-((z - 2) ** 2) / 0.08, -((z + 2) ** 2) / 0.08)
        return (log_p_x + proposed.log_prior - proposed.log_proposal).double()

    axis = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    log_p_x = torch.logaddexp(-((axis - 2) ** 2) / 0.08, -((axis + 2) ** 2) / 0.08)
    log_joint = log_p_x - 0.5 * axis**2 - 0.5 * math.log(2 * math.pi)
    exact = log_joint.logsumexp(0).item() + math.log(axis[1] - axis[0])
    for share in (0.1, 0.5):
        estimate = log_weights(share).logsumexp(0).item() - math.log(200_000)
        assert estimate == pytest.approx(exact, abs=0.03)
    assert log_weights(0.0).logsumexp(0).item() - math.log(200_000) < exact - 0.6
