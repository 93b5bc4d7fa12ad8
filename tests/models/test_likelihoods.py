"""Each likelihood sums or integrates to one, and its samples have its mean."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.models.vae.likelihoods import (
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    mean_of_clipped_logistic,
)


def test_bernoulli_sums_to_one_over_all_images():
    logits = torch.randn(1, 1, 2, 3)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).view(-1, 1, 2, 3)
    total = Bernoulli(1, dynamic=True).log_prob(logits, images).double().logsumexp(0)
    assert total.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("num_mixtures", [1, 4])
@pytest.mark.parametrize("spread", [0.1, 1.0, 8.0])
def test_discretized_logistic_sums_to_one_over_256_values(num_mixtures, spread):
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(1, num_mixtures)
    params = spread * torch.randn(5, likelihood.out_channels, 1, 1)
    values = torch.arange(256).view(-1, 1, 1, 1, 1) / 255
    total = likelihood.log_prob(params, values).double().logsumexp(0)
    assert torch.allclose(total, torch.zeros(5, dtype=torch.float64), atol=2e-4)


def slow_log_prob(params, x, k):
    """log p of one pixel `[3]` by loops over eq. 3 of PixelCNN++, in double precision."""
    shape = (1 + 3 + 3 + 3, k)
    weights, means, scales, coefs = params.double().view(shape).split((1, 3, 3, 3))
    starts = torch.linspace(-0.5, 0.5, k + 2, dtype=torch.float64)[1:-1]
    total = 0.0
    for i, weight in enumerate(weights[0].softmax(0)):
        p = weight
        for c, name in enumerate(("red", "green", "blue")):
            mean = 0.5 + means[c, i] + starts[i]
            if name == "green":
                mean += coefs[0, i].tanh() * (x[0] - 0.5)
            if name == "blue":
                mean += coefs[1, i].tanh() * (x[0] - 0.5) + coefs[2, i].tanh() * (x[1] - 0.5)
            scale = math.exp(max(scales[c, i].item() - 2, -7))
            edges = [(x[c] + sign * 0.5 / 255 - mean) / scale for sign in (1, -1)]
            above = 1.0 if x[c] == 1 else torch.sigmoid(edges[0])
            below = 0.0 if x[c] == 0 else torch.sigmoid(edges[1])
            p = p * (above - below)
        total = total + p
    return math.log(total)


@pytest.mark.parametrize("k", [1, 3])
def test_channels_of_a_pixel_follow_the_formula(k):
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(3, k)
    params = torch.randn(20, likelihood.out_channels, 1, 1)
    x = torch.randint(0, 256, (20, 3, 1, 1)) / 255
    x[0], x[1] = 0, 1
    expected = [
        slow_log_prob(p.flatten(), v.flatten().double(), k) for p, v in zip(params, x, strict=True)
    ]
    assert likelihood.log_prob(params, x).tolist() == pytest.approx(expected, abs=1e-3)


def test_probabilities_of_all_values_of_two_channels_sum_to_one():
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(2, 2)
    params = torch.randn(1, likelihood.out_channels, 1, 1)
    values = torch.cartesian_prod(torch.arange(256), torch.arange(256)) / 255
    total = likelihood.log_prob(params, values[..., None, None]).double().logsumexp(0)
    assert total.item() == pytest.approx(0, abs=2e-4)


def test_samples_of_channels_depend_on_one_another_as_the_probabilities_say():
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(2, 1)
    weight, mean, scale, coef = 0.0, 0.0, -0.5, 2.0
    params = torch.tensor([weight, mean, mean, scale, scale, coef]).view(1, 6, 1, 1)
    values = torch.cartesian_prod(torch.arange(256), torch.arange(256)) / 255
    p = likelihood.log_prob(params, values[..., None, None]).double().exp()
    samples = likelihood.sample(params.expand(40_000, -1, -1, -1)).double()[..., 0, 0]
    for moment in (lambda v: v[:, 0] * v[:, 1], lambda v: v[:, 1], lambda v: v[:, 1] ** 2):
        expected, found = (p * moment(values.double())).sum(), moment(samples)
        assert abs(found.mean() - expected) < 5 * found.std() / 200 + 1e-3
    assert torch.corrcoef(samples.T)[0, 1] > 0.5


def test_discretized_logistic_stays_finite_far_from_its_means():
    likelihood = DiscretizedLogistic(1, 2)
    params = torch.zeros(1, likelihood.out_channels, 1, 1, requires_grad=True)
    shifted = params + torch.tensor([0, 0, 50.0, 50.0, -9.0, -9.0]).view(1, 6, 1, 1)
    log_p = likelihood.log_prob(shifted, torch.full((1, 1, 1, 1), 7 / 255))
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert params.grad is not None
    assert params.grad.isfinite().all()


@pytest.mark.parametrize("sigma", [0.02, 0.3])
def test_gaussian_integrates_to_one_on_the_scale_of_8_bit_values(sigma):
    likelihood = Gaussian(1, sigma, init_sigma=0.1)
    x = torch.linspace(-3, 4, 70_001)
    log_p = likelihood.log_prob(torch.full((1, 1, 1, 1), 0.4), x.view(-1, 1, 1, 1))
    step = 7 / 70_000 * 256  # the density is over values 0 to 256
    assert log_p.double().exp().sum().item() * step == pytest.approx(1, abs=1e-4)


def test_dequantized_gaussian_is_a_lower_bound_on_the_probability_of_the_value():
    """E_u log p(v + u) <= log of the integral over the value's bin (Theis 2015)."""
    likelihood, mean = Gaussian(1, 0.05, init_sigma=0.1), torch.full((1, 1, 1, 1), 0.43)
    pixels = torch.full((50_000, 1, 1, 1), 100, dtype=torch.uint8)
    bound = likelihood.log_prob(mean, likelihood.observe(pixels, range(50_000))).mean()
    normal = torch.distributions.Normal(0.43, 0.05)
    exact = (normal.cdf(torch.tensor(101 / 256)) - normal.cdf(torch.tensor(100 / 256))).log()
    assert bound <= exact + 1e-4
    assert bound.item() == pytest.approx(exact.item(), abs=0.01)


def test_learned_sigma_converges_to_the_rmse():
    """The maximum-likelihood sigma is the root mean square of the residuals (Rybkin 2020)."""
    torch.manual_seed(0)
    likelihood = Gaussian(1, None, init_sigma=0.3)
    x = 0.5 + 0.07 * torch.randn(256, 1, 8, 8)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood.log_prob(torch.full((1, 1, 8, 8), 0.5), x).mean()).backward()
        optimizer.step()
    assert likelihood.sigma.item() == pytest.approx(0.07, rel=0.03)


def test_dynamic_binarization_samples_pixels_by_their_grey_value():
    pixels = torch.tensor([0, 64, 128, 255], dtype=torch.uint8).view(1, 2, 2, 1)
    x = Bernoulli(1, dynamic=True).observe(pixels.expand(40_000, 2, 2, 1), range(40_000))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(x.mean(0).flatten(), torch.tensor([0, 64, 128, 255]) / 255, atol=0.01)
    assert (x[:, 0, 0, 0] == 0).all()
    assert (x[:, 0, 1, 1] == 1).all()


def test_static_binarization_thresholds_at_one_half():
    pixels = torch.tensor([0, 127, 128, 255], dtype=torch.uint8).view(1, 2, 2, 1)
    x = Bernoulli(1, dynamic=False).observe(pixels)
    assert x.flatten().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(1, dynamic=True), Gaussian(1, 0.1, init_sigma=0.1), DiscretizedLogistic(1, 1)],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_samples_have_the_stated_mean(likelihood):
    torch.manual_seed(1)
    params = 0.1 * torch.randn(1, likelihood.out_channels, 2, 2)
    samples = likelihood.sample(params.expand(60_000, -1, -1, -1))
    assert torch.allclose(samples.mean(0), likelihood.mean(params)[0], atol=0.01)


def mean_of_256_values(likelihood, params):
    values = torch.arange(256, dtype=torch.float64).view(-1, 1, 1, 1) / 255
    return (likelihood.log_prob(params.double(), values).exp() * values.flatten()).sum()


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3),
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),  # means
    st.lists(st.floats(-6, 5), min_size=3, max_size=3),  # log-scales
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),  # weights
)
def test_mean_of_discretized_logistics_is_the_sum_over_256_values(k, means, scales, weights):
    likelihood = DiscretizedLogistic(1, k)
    params = torch.tensor([*weights[:k], *means[:k], *scales[:k]]).view(1, 3 * k, 1, 1)
    mean, expected = likelihood.mean(params)[0], mean_of_256_values(likelihood, params)
    # logistics narrower than a bin are rounded to its value
    tolerance = 2e-4 if min(scales[:k]) > -3 else 0.5 / 255 + 1e-4
    assert abs(mean.item() - expected.item()) < tolerance


def test_mean_of_a_logistic_keeps_its_digits_at_every_scale():
    m = torch.linspace(-1, 2, 301)
    for log_scale in (-60.0, -7.0, -2.0, 3.0, 12.0):
        low = mean_of_clipped_logistic(m, torch.full_like(m, log_scale))
        high = mean_of_clipped_logistic(m.double(), torch.full_like(m.double(), log_scale))
        assert torch.allclose(low.double(), high, atol=3e-6)
    assert torch.allclose(mean_of_clipped_logistic(m, torch.full_like(m, -60.0)), m.clamp(0, 1))
    s = math.exp(-2)
    plain = s * (F.softplus(m.double() / s) - F.softplus((m.double() - 1) / s))
    assert torch.allclose(
        mean_of_clipped_logistic(m.double(), torch.full_like(m.double(), -2.0)), plain
    )


def test_wide_discretized_logistic_is_uniform_over_the_inner_values():
    likelihood = DiscretizedLogistic(1, 1)
    params = torch.tensor([0.0, 0.0, 12.0]).view(1, 3, 1, 1)  # wide: flat between the ends
    values = torch.arange(1, 255).view(-1, 1, 1, 1) / 255
    log_p = likelihood.log_prob(params, values)
    assert (log_p.max() - log_p.min()).item() < 0.01
    assert math.isfinite(log_p.sum().item())
