"""Posteriors that are no Gaussians: densities, gradients, bounds, and what is made of them."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from pinxit.errors import UsageError
from pinxit.evaluation.elbo_surgery import compare_with_aggregate
from pinxit.models import build_model
from pinxit.models.latent_densities import fit_flow, fit_mixture
from pinxit.models.vae.autoregressive_flow import AutoregressiveFlow
from pinxit.models.vae.config import Config
from pinxit.models.vae.multisample_bound import multisample_bound
from pinxit.models.vae.von_mises_fisher import VonMisesFisher, angle_at, log_area, log_ive
from pinxit.sampling.latents import interpolate_images, traverse
from tests.builders import blobs

TINY = {"width": 16, "depth": 1, "network": "mlp", "likelihood": "bernoulli", "binarize": "static"}
POSTERIORS = {
    "iaf of one latent": {"posterior": "iaf", "latent_dim": 1},
    "iaf": {"posterior": "iaf", "latent_dim": 2, "iaf_steps": 3},
    "iaf and a flow": {"posterior": "iaf", "latent_dim": 2, "prior": "flow"},
    "vmf on a circle": {"posterior": "vmf", "latent_dim": 2},
    "vmf": {"posterior": "vmf", "latent_dim": 3},
}


def tiny(**options):
    torch.manual_seed(0)
    model = build_model(Config(**{**TINY, **options}), blobs(), np.arange(48))[0]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = {"posteriors": 0.2, "prior": 0.1}.get(name.split(".")[0], 0.1)
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def observe(model, n=3):
    return model.observe(blobs().batch(np.arange(n)), range(n))


def support(model):
    """Points that cover the latents, and the logarithm of the area that each stands for."""
    dim = model.latent_dim
    if model.config.posterior != "vmf":
        axis = torch.linspace(-7, 7, 1001 if dim == 1 else 141)
        points = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
        return points, torch.full((len(points),), dim * math.log(float(axis[1] - axis[0])))
    count = 120
    around = (torch.arange(count) + 0.5) * (2 * math.pi / count)
    if dim == 2:
        points = torch.stack([around.cos(), around.sin()], 1)
        log_areas = torch.full((count,), math.log(2 * math.pi / count))
    else:
        heights = (torch.arange(80) + 0.5) / 40 - 1
        height, angle = (part.flatten() for part in torch.meshgrid(heights, around, indexing="ij"))
        flat = (1 - height.square()).sqrt()
        points = torch.stack([height, flat * angle.cos(), flat * angle.sin()], 1)
        log_areas = torch.full((len(points),), math.log(4 * math.pi / len(points)))
    return math.sqrt(dim) * points, log_areas + (dim - 1) / 2 * math.log(dim)


def log_densities(model, x):
    """log q(z|x), log p(z) and log p(x|z) at all points; and the areas."""
    z, log_area_of_point = support(model)
    log_q = model.q(x).log_prob(z.expand(len(x), -1, -1)).double()
    log_p_z = model.prior.log_prob(z).double()
    log_p_x = model.likelihood.log_prob(model.decode_params(z), x[:, None]).double()
    return log_q, log_p_z, log_p_x, log_area_of_point.double()


# -- bounds and estimates, against quadrature ------------------------------------------------------


@pytest.fixture(params=POSTERIORS.values(), ids=POSTERIORS)
def model(request):
    return tiny(**request.param)


@torch.no_grad()
def test_densities_integrate_to_one(model):
    log_q, log_p_z, _, log_areas = log_densities(model, observe(model))
    assert torch.allclose((log_q + log_areas).logsumexp(1), torch.zeros(3).double(), atol=2e-3)
    assert float((log_p_z + log_areas).logsumexp(0)) == pytest.approx(0, abs=5e-3)


@torch.no_grad()
def test_elbo_is_that_of_quadrature(model):
    x = observe(model)
    log_q, log_p_z, log_p_x, log_areas = log_densities(model, x)
    weight = (log_q + log_areas).exp()
    expected = (weight * (log_p_x + log_p_z - log_q)).sum(1)
    rate = (weight * (log_q - log_p_z)).sum(1)
    n = 2000
    repeated = x.repeat_interleave(n, 0)
    torch.manual_seed(0)
    terms = model.elbo(repeated, None)
    values = -(terms.distortion + terms.rate.sum(1)).view(3, n).double()
    error = values.std(1) / math.sqrt(n)
    assert ((values.mean(1) - expected).abs() < 5 * error + 5e-3).all()
    rates = terms.rate.sum(1).view(3, n).double()
    assert ((rates.mean(1) - rate).abs() < 5 * rates.std(1) / math.sqrt(n) + 5e-3).all()


@pytest.mark.parametrize("defensive_share", [0.0, 0.3])
@torch.no_grad()
def test_importance_estimate_is_the_likelihood_of_quadrature(model, defensive_share):
    x = observe(model)
    _, log_p_z, log_p_x, log_areas = log_densities(model, x)
    exact = (log_p_x + log_p_z + log_areas).logsumexp(1)
    n = 1500
    weights = model.log_weights(x, None, n, [5, 6, 7], defensive_share).double()
    assert model.importance_log_weights(x, None, n, [5, 6, 7], defensive_share) is None
    relative = (weights - exact[:, None]).exp()
    error = relative.std(1) / math.sqrt(n)
    assert ((relative.mean(1) - 1).abs() < 5 * error + 5e-3).all()
    assert (error < 0.3).all()


@torch.no_grad()
def test_samples_have_the_density_of_given_z(model):
    """Of a mixture too: its components are drawn as often as they say."""
    x = observe(model)
    q = model.q(x)
    z, log_q = q.sample(torch.randn(3, 50, model.latent_dim))
    assert torch.allclose(q.log_prob(z), log_q, atol=2e-3)
    share = 0.25
    uniforms = torch.rand(3, 50)
    proposed = q.propose(torch.randn(3, 50, model.latent_dim), model.prior, uniforms, share)
    mixed = torch.logaddexp(
        math.log(1 - share) + q.log_prob(proposed.z),
        math.log(share) + model.prior.log_prob(proposed.z.flatten(0, 1)).view(3, 50),
    )
    assert torch.allclose(proposed.log_proposal, mixed, atol=2e-3)
    if model.config.posterior == "vmf":
        norms = proposed.z.norm(dim=-1)
        assert torch.allclose(norms, torch.full_like(norms, math.sqrt(model.latent_dim)))


@torch.no_grad()
def test_information_in_the_latents_is_that_of_quadrature(model):
    """Of three images: I(x; z) = mean KL(q(z|x) || q(z))."""
    x = observe(model)
    log_q, _, _, log_areas = log_densities(model, x)
    log_aggregate = log_q.logsumexp(0) - math.log(3)
    exact = float(((log_q + log_areas).exp() * (log_q - log_aggregate)).sum(1).mean())
    posterior = model.posteriors.collect(
        model.posteriors.tensors(model._encoder_outputs(x, None)), model.latent_shape
    )
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(60):
        noise = torch.randn(3, model.latent_dim, generator=generator)
        values.append(compare_with_aggregate(posterior, noise).information.mean())
    error = np.std(values) / math.sqrt(len(values))
    assert float(np.mean(values)) == pytest.approx(exact, abs=5 * error + 1e-3)


@torch.no_grad()
def test_encoded_posteriors_are_those_of_the_model(model):
    images = blobs()[:4]
    posterior = model.encode(images)
    x = model._mean_observation(torch.from_numpy(images.pixels))
    q = model.q(x)
    noise = torch.randn(4, model.latent_dim)
    z, log_q = posterior.draw(noise.numpy())
    expected, expected_log_q = q.sample(noise[:, None])
    assert np.allclose(z, expected[:, 0], atol=1e-4)
    assert np.allclose(log_q, expected_log_q[:, 0], atol=1e-3)
    matrix = posterior.log_prob(z)
    assert np.allclose(np.diag(matrix), log_q, atol=1e-6)
    points = torch.from_numpy(z).float().expand(4, -1, -1)
    assert np.allclose(matrix, q.log_prob(points).T, atol=2e-2)
    assert np.allclose(posterior.mean, q.mean, atol=1e-5)
    two = posterior.take(np.array([2, 0]))
    assert np.allclose(two.log_prob(z), matrix[:, [2, 0]])
    assert np.allclose(two.mean, posterior.mean[[2, 0]])
    assert not posterior.is_gaussian
    many = np.stack([posterior.draw(e)[0] for e in np.random.default_rng(0).normal(
        size=(200, 4, model.latent_dim))])  # fmt: skip
    assert np.allclose(many.std(0), posterior.std, rtol=0.35, atol=0.03)


# -- inverse autoregressive flow -------------------------------------------------------------------


def random_flow(dim, steps, seed=0):
    torch.manual_seed(seed)
    flow = AutoregressiveFlow(dim, 4, steps).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return flow


@settings(max_examples=15, deadline=None)
@given(dim=st.integers(1, 6), steps=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_flow_inverts_and_has_the_determinant_of_its_jacobian(dim, steps, seed):
    flow = random_flow(dim, steps, seed)
    z, context = torch.randn(3, dim).double(), torch.randn(3, 4).double()
    with torch.no_grad():
        moved, log_det = flow(z, context)
        back, again = flow.inverse(moved, context)
    assert torch.allclose(back, z, atol=1e-8)
    assert torch.allclose(again.sum(1), log_det.sum(1), atol=1e-8)
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda row, i=i: flow(row[None], context[i : i + 1])[0][0], z[i]
        )
        assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(
            float(log_det[i].sum()), abs=1e-8
        )


def test_an_output_of_made_depends_on_earlier_latents_and_on_the_image():
    made = random_flow(5, 1).steps[0]
    z, context = torch.randn(1, 5).double(), torch.randn(1, 4).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: made(z, context)[0][0], z)[:, 0]
    assert torch.equal(jacobian.triu(), torch.zeros(5, 5).double())
    assert (jacobian.tril(-1).abs().sum(1)[1:] > 0).all()
    of_context = torch.autograd.functional.jacobian(lambda c: made(z, c)[0][0], context)[:, 0]
    assert (of_context.abs().sum(1) > 0).all()


# -- von Mises-Fisher ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(twice=st.integers(0, 1200), log_kappa=st.floats(-7, 13))
def test_bessel_functions_are_those_of_mpmath(twice, log_kappa):
    """Of orders d / 2 - 1."""
    order = twice / 2
    kappa = math.exp(log_kappa)
    with mpmath.workdps(30):
        value = mpmath.log(mpmath.besseli(mpmath.mpf(order), mpmath.mpf(kappa))) - kappa
    result = float(log_ive(order, torch.tensor([kappa], dtype=torch.float64)))
    assert result == pytest.approx(float(value), rel=1e-8, abs=1e-8)


def test_bessel_functions_are_those_of_scipy():
    kappa = torch.tensor([0.01, 1.0, 30.0, 1e4], dtype=torch.float64)
    for order in (0, 0.5, 1, 15, 31.5):
        assert np.allclose(log_ive(order, kappa), np.log(special.ive(order, kappa)), rtol=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 16])
@pytest.mark.parametrize("kappa", [0.5, 40.0])
def test_density_kl_and_samples_are_those_of_scipy(dim, kappa):
    mu = torch.nn.functional.normalize(torch.arange(1.0, dim + 1)[None].double(), dim=1)
    distribution = VonMisesFisher(mu, torch.tensor([kappa], dtype=torch.float64))
    reference = stats.vonmises_fisher(mu[0].numpy(), kappa)
    generator = torch.Generator().manual_seed(0)
    z, log_q = distribution.sample(torch.randn(1, 4000, dim, generator=generator).double())
    unit = (z[0] / math.sqrt(dim)).numpy()
    scale = (dim - 1) / 2 * math.log(dim)
    assert np.allclose(reference.logpdf(unit) - scale, log_q[0], atol=1e-6)
    entropy = float(reference.entropy())
    assert float(distribution.kl_to_uniform()) == pytest.approx(log_area(dim) - entropy, abs=1e-8)
    assert np.allclose(z[0].std(0), distribution.std()[0], rtol=0.1)
    others = reference.rvs(4000, random_state=0)
    for direction in (mu[0].numpy(), np.eye(dim)[0]):
        assert stats.ks_2samp(unit @ direction, others @ direction).pvalue > 1e-3


def wood_sample(kappa, dim, count, rng):
    """The cosines of Wood 1994, algorithm VM*, by rejection."""
    b = (dim - 1) / (2 * kappa + math.sqrt(4 * kappa**2 + (dim - 1) ** 2))
    x = (1 - b) / (1 + b)
    c = kappa * x + (dim - 1) * math.log(1 - x**2)
    e, u = rng.beta((dim - 1) / 2, (dim - 1) / 2, 4 * count), rng.uniform(size=4 * count)
    w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
    return w[kappa * w + (dim - 1) * np.log(1 - x * w) - c >= np.log(u)][:count]


@pytest.mark.parametrize(("dim", "kappa"), [(2, 3.0), (5, 0.2), (32, 60.0), (128, 1000.0)])
def test_angles_are_those_of_rejection_sampling(dim, kappa):
    rng = np.random.default_rng(0)
    u = torch.from_numpy(rng.uniform(size=(1, 5000)))
    angles = angle_at(u, torch.tensor([kappa], dtype=torch.float64), dim)
    assert stats.ks_2samp(angles[0].cos(), wood_sample(kappa, dim, 5000, rng)).pvalue > 1e-3


@settings(max_examples=25, deadline=None)
@given(dim=st.integers(2, 200), log_kappa=st.floats(-4, 10), u=st.floats(0.001, 0.999))
def test_the_gradient_of_an_angle_is_that_of_finite_differences(dim, log_kappa, u):
    kappa = torch.tensor([math.exp(log_kappa)], dtype=torch.float64, requires_grad=True)
    quantile = torch.tensor([[u]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(angle_at(quantile, kappa, dim).sum(), kappa)
    step = 1e-4 * math.exp(log_kappa)
    with torch.no_grad():
        ends = [angle_at(quantile, kappa + sign * step, dim) for sign in (1, -1)]
    expected = float(ends[0] - ends[1]) / (2 * step)
    assert float(gradient) == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_the_gradient_of_an_expectation_needs_no_correction():
    """E z.mu = sqrt(d) A(k); its derivative by samples is that of the closed form."""
    dim, mu = 6, torch.eye(6, dtype=torch.float64)[:1]
    kappa = torch.tensor([8.0], dtype=torch.float64, requires_grad=True)
    distribution = VonMisesFisher(mu, kappa)
    (exact,) = torch.autograd.grad(math.sqrt(dim) * (1 - distribution.moments.fall).sum(), kappa)
    generator = torch.Generator().manual_seed(0)
    z, _ = VonMisesFisher(mu, kappa).sample(torch.randn(1, 20_000, dim, generator=generator))
    (estimate,) = torch.autograd.grad((z @ mu[0].to(z.dtype)).mean(), kappa)
    assert float(estimate) == pytest.approx(float(exact), rel=0.03)


def test_a_posterior_of_any_concentration_has_finite_gradients():
    for kappa in (1e-4, 1.0, 1e6):
        parameter = torch.tensor([kappa], requires_grad=True)
        mu = torch.nn.functional.normalize(torch.randn(1, 7), dim=1).requires_grad_()
        distribution = VonMisesFisher(mu, parameter)
        z, log_q = distribution.sample(torch.randn(1, 9, 7))
        (z.sum() + log_q.sum() + distribution.kl_to_uniform().sum()).backward()
        assert torch.isfinite(z).all()
        assert torch.isfinite(log_q).all()
        assert all(torch.isfinite(part.grad).all() for part in (parameter, mu))


# -- training and use ------------------------------------------------------------------------------


def test_both_gradients_of_vmf_agree_in_mean():
    """Plain and doubly reparameterized, of the encoder."""
    gradients = []
    for kind in ("plain", "doubly-reparameterized"):
        model = tiny(posterior="vmf", latent_dim=3, iw_samples=4, iw_gradient=kind)
        x = observe(model, 2).repeat_interleave(1000, 0)
        torch.manual_seed(0)
        noise = torch.randn(len(x), 4, 3)
        value = multisample_bound(model, x, None, noise).value.mean()
        gradients.append(torch.autograd.grad(value, model.encoder.out_proj.weight)[0])
    assert (gradients[0] - gradients[1]).norm() < 0.2 * gradients[0].norm()


@pytest.mark.parametrize("options", POSTERIORS.values(), ids=POSTERIORS)
def test_the_loss_falls_and_all_parts_learn(options):
    model = build_model(Config(**{**TINY, **options}), blobs(), np.arange(48))[0].train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for step in range(30):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model.loss(blobs().batch(np.arange(48))).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    # the network of a single latent has no inputs but the image
    unused = ("in_proj.weight",) if options["latent_dim"] == 1 else ()
    unchanged = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not [name for name in unchanged if not name.endswith(unused or ("-",))]


def test_latents_of_vmf_stay_on_the_sphere():
    model, images = tiny(posterior="vmf", latent_dim=4), blobs()
    norm = math.sqrt(4)
    noise = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    z = model.from_noise(noise)
    assert np.allclose(np.linalg.norm(z, axis=1), norm, rtol=1e-5)
    assert np.allclose(model.from_noise(model.to_noise(z)), z, atol=1e-5)
    assert np.allclose(np.linalg.norm(model.encode(images).mean, axis=1), norm, rtol=1e-5)
    # other latents decode as the point of the sphere in their direction
    assert np.array_equal(model.decode(3 * z).pixels, model.decode(z).pixels)
    assert len(interpolate_images(model, images[:2], 5)) == 5
    moved = traverse(model, images, num_latents=2, steps=3)
    assert moved.rate is None
    assert len(moved.images) == 6
    assert model.from_noise(np.zeros((1, 4), np.float32)).shape == (1, 4)


def test_temperature_of_a_uniform_prior_is_refused():
    model = tiny(posterior="vmf", latent_dim=4)
    with pytest.raises(UsageError, match="temperature of posterior vmf"):
        model.sample(2, temperature=0.5)
    assert len(model.sample(2, temperature=1.0)) == 2


@pytest.mark.parametrize("options", [{"posterior": "iaf"}, {"posterior": "vmf"}])
def test_priors_are_fitted_to_samples(options):
    model = tiny(**options, latent_dim=3)
    posterior = model.encode(blobs())
    mixture = fit_mixture(posterior, posterior)
    flow = fit_flow(posterior, posterior, steps=5)
    for density in (mixture, flow):
        assert len(model.decode(density.sample(3))) == 3
        assert np.isfinite(density.log_prob(posterior.mean)).all()
    z = np.concatenate([posterior.draw(e)[0] for e in np.random.default_rng(0).normal(
        size=(20, *posterior.mean.shape))])  # fmt: skip
    assert np.allclose(mixture.sample(5000).mean(0), z.mean(0), atol=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"posterior": "iaf", "latents": "grid"}, "posterior iaf needs a vector"),
        ({"posterior": "vmf", "latents": "grid"}, "posterior vmf needs a vector"),
        ({"posterior": "iaf", "equivariance": 0.5}, "equivariance needs a grid.*posterior iaf"),
        ({"posterior": "iaf", "prior": "vamp"}, "prior vamp mixes Gaussians"),
        ({"posterior": "vmf", "prior": "vamp"}, "prior vamp mixes Gaussians"),
        ({"posterior": "vmf", "prior": "flow"}, "prior flow.*posterior vmf"),
        ({"posterior": "vmf", "free_bits": 0.1}, "free_bits.*posterior vmf"),
        ({"posterior": "vmf", "total_correlation": 1.0}, "total_correlation.*posterior vmf"),
        ({"posterior": "iaf", "total_correlation": 1.0}, "tc_estimate discriminator"),
        (
            {"posterior": "iaf", "iw_samples": 4, "iw_gradient": "doubly-reparameterized"},
            "iw_gradient.*posterior iaf",
        ),
        ({"iaf_steps": 3}, "iaf_steps are of posterior iaf"),
        ({"posterior": "iaf", "iaf_steps": 0}, "iaf_steps must be at least 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options)


def test_a_sphere_has_two_latents_or_more():
    with pytest.raises(UsageError, match="posterior vmf needs 2 latents"):
        build_model(Config(posterior="vmf", latent_dim=1), blobs(), np.arange(48))
