"""The parts of a VAE's loss: bounds, variances, priors and penalties, alone and in pairs."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.vae import variants
from pinxit.models.vae.config import Config
from pinxit.models.vae.discriminators import frozen
from pinxit.models.vae.inference import log_terms
from pinxit.models.vae.ms_ssim import ms_ssim
from pinxit.models.vae.multisample_bound import multisample_bound
from pinxit.models.vae.penalties import (
    Draw,
    adversarial_term,
    minibatch_total_correlation,
    mmd_estimate,
)
from pinxit.training.checkpoint import load_checkpoint, save_checkpoint
from pinxit.training.loop import create_train_state, train_steps
from pinxit.training.prepare import check_whole_batches
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs

TINY = {"latent_dim": 3, "width": 16, "depth": 1, "network": "mlp"}
BINARY = {"likelihood": "bernoulli", "binarize": "static"}
GAUSSIAN = {"likelihood": "gaussian"}
DREG = "doubly-reparameterized"


def tiny(**options):
    model = build_model(Config(**{**TINY, **options}), blobs(), np.arange(48))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch_of(n=16):
    return blobs().batch(np.arange(n))


# -- bounds ----------------------------------------------------------------------------------------

BOUNDS = {
    "iwae": {"iw_samples": 4},
    "miwae": {"iw_samples": 2, "iw_groups": 3},
    "ciwae": {"iw_samples": 4, "iw_elbo_share": 0.5},
    "piwae": {"iw_samples": 2, "iw_groups": 3, "iw_decoder": "joint"},
}


def values_of_bound(model, x, draws, seed=0, beta=1.0):
    torch.manual_seed(seed)
    repeated = x.repeat_interleave(draws, 0)
    noise = torch.randn(len(repeated), model.config.num_iw_samples, model.latent_dim)
    return multisample_bound(model, repeated, None, noise, beta)


@pytest.mark.parametrize("options", BOUNDS.values(), ids=BOUNDS)
def test_a_bound_is_on_average_at_most_the_exact_likelihood(options):
    """Of one latent log p(x) is a sum over a fine axis."""
    model = tiny(latent_dim=1, **BINARY, **options)
    x = model.observe(batch_of(4))
    axis = torch.linspace(-12, 12, 4001)[:, None]
    with torch.no_grad():
        params = model.decode_params(axis)
        log_prior = model.prior.log_prob(axis)
        log_joint = model.likelihood.log_prob(params[:, None], x) + log_prior[:, None]
        exact = log_joint.double().logsumexp(0) + math.log(24 / 4000)
        values = values_of_bound(model, x, 4000).value.view(4, -1).double()
    error = values.std(1) / math.sqrt(4000)
    assert (values.mean(1) < exact + 4 * error).all()
    assert (values.mean(1) > exact - 20).all()  # a bound of this image, not of another


@pytest.mark.parametrize("beta", [1.0, 0.2])
@pytest.mark.parametrize("options", BOUNDS.values(), ids=BOUNDS)
def test_both_gradients_agree_in_mean_and_that_of_the_decoder_is_the_same(options, beta):
    gradients = {}
    for kind in ("plain", DREG):
        model = tiny(**BINARY, **options, iw_gradient=kind)
        x = model.observe(batch_of(2))
        rows = []
        for seed in range(40):
            model.zero_grad()
            values_of_bound(model, x, 200, seed, beta).value.mean().backward()
            rows.append([model.encoder.out_proj.bias.grad, model.decoder.out_proj.bias.grad])
        gradients[kind] = [torch.stack(column) for column in zip(*rows, strict=True)]
    (plain, decoder), (doubly, same_decoder) = gradients.values()
    error = ((plain.var(0) + doubly.var(0)) / 40).sqrt()
    assert ((plain.mean(0) - doubly.mean(0)).abs() < 4.5 * error + 1e-6).all()
    assert plain.mean(0).norm() > 5 * error.norm()
    assert torch.allclose(decoder, same_decoder, atol=1e-5)


@given(groups=st.integers(1, 4), samples=st.integers(1, 4), share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_value_and_gradient_are_those_of_the_formula(groups, samples, share):
    if groups * samples == 1:
        return
    model = tiny(**BINARY, iw_groups=groups, iw_samples=samples, iw_elbo_share=share)
    x = model.observe(batch_of(3))
    torch.manual_seed(1)
    noise = torch.randn(3, groups * samples, 3)
    result = []
    for make in (
        lambda: multisample_bound(model, x, None, noise, 0.7).value,
        lambda: formula(model, x, noise, groups, samples, share, 0.7),
    ):
        model.zero_grad()
        value = make()
        value.sum().backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        result.append((value.detach(), torch.cat(gradients)))
    (value, gradient), (expected, expected_gradient) = result
    assert torch.allclose(value, expected, rtol=1e-5, atol=1e-4)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-3)


def formula(model, x, noise, groups, samples, share, beta):
    log_p_x, log_p_z, log_q = log_terms(model, x, None, noise)
    log_w = (log_p_x + beta * (log_p_z - log_q)).unflatten(1, (groups, samples))
    bound = (log_w.logsumexp(2) - math.log(samples)).mean(1)
    return (1 - share) * bound + share * log_w.mean((1, 2))


def test_the_encoder_of_piwae_learns_from_groups_and_its_decoder_from_all_samples():
    options = {"iw_samples": 2, "iw_groups": 3, **BINARY}
    parts = {}
    for name, own in {
        "piwae": {"iw_decoder": "joint"},
        "miwae": {},
        "iwae": {"iw_samples": 6, "iw_groups": 1},
    }.items():
        model = tiny(**{**options, **own})
        torch.manual_seed(2)
        x, noise = model.observe(batch_of(4)), torch.randn(4, 6, 3)
        multisample_bound(model, x, None, noise).value.sum().backward()
        parts[name] = (model.encoder.out_proj.weight.grad, model.decoder.out_proj.weight.grad)
    assert torch.allclose(parts["piwae"][0], parts["miwae"][0], atol=1e-4)
    assert torch.allclose(parts["piwae"][1], parts["iwae"][1], atol=1e-4)
    assert not torch.allclose(parts["miwae"][0], parts["iwae"][0], atol=1e-3)


@pytest.mark.parametrize("gradient", ["plain", DREG])
@pytest.mark.parametrize("spread", [1.0, 1e5])
def test_gradients_of_piwae_are_exact_however_far_weights_are_apart(spread, gradient):
    """In fp32 all weights of one group but the best are 0; the encoder learns from each group."""
    options = {"iw_samples": 2, "iw_groups": 4, "iw_gradient": gradient, **GAUSSIAN}
    gradients = {}
    for name in ("joint", "groups", "exact"):
        torch.manual_seed(0)
        model = tiny(**options, iw_decoder="groups" if name == "groups" else "joint")
        x, noise = model.observe(batch_of(3)), torch.randn(3, 8, 3)
        params = model.decode_params(model.q(x).sample(noise)[0].flatten(0, 1))
        squares = (params.unflatten(0, (3, 8)) - x[:, None]).square().flatten(2).sum(2)
        spread_at_one = (squares.amax(1) - squares.amin(1)).min().item() / 2
        with torch.no_grad():
            sigma = math.sqrt(spread_at_one / spread)
            model.likelihood.log_sigma_scaled.fill_(math.log(sigma) / model.likelihood.LR_SCALE)
        if name == "exact":
            with torch.no_grad():
                z, log_q = model.q(x).sample(noise)
            gradients["exact"] = joint_gradient_of_decoder(
                model.double(), x.double(), z.double(), log_q.double()
            )
            continue
        bound = multisample_bound(model, x, None, noise)
        assert (bound.log_p_x.amax(1) - bound.log_p_x.amin(1)).min() > 0.9 * spread
        bound.value.sum().backward()
        gradients[name] = [gradient_of(model.encoder), gradient_of(model.decoder)]
    encoder, expected = gradients["joint"][0], gradients["groups"][0]
    assert (encoder - expected).norm() < 1e-4 * expected.norm()
    decoder, expected = gradients["joint"][1].double(), gradients["exact"]
    assert (decoder - expected).norm() < 1e-4 * expected.norm()


def gradient_of(module):
    return torch.cat([p.grad.flatten() for p in module.parameters()])


def joint_gradient_of_decoder(model, x, z, log_q):
    """That of one bound of all samples."""
    params = model.decoder(z.flatten(0, 1), None) + model.info.mean
    log_p_x = model.likelihood.log_prob(params.unflatten(0, z.shape[:2]), x[:, None])
    log_p_z = model.prior.log_prob(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    (log_p_x + log_p_z - log_q).logsumexp(1).sum().backward()
    return gradient_of(model.decoder)


# -- variances -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["analytic", "per-pixel"])
def test_the_analytic_variance_is_the_best_of_its_kind(variance):
    likelihood = tiny(**GAUSSIAN, variance=variance).likelihood
    torch.manual_seed(0)
    m, x = torch.rand(64, 1, 8, 8), torch.rand(64, 1, 8, 8)
    sigma = likelihood.update(m, x)
    best = likelihood.log_prob(m, x, sigma).sum()
    for factor in (0.9, 0.97, 1.03, 1.1):
        assert likelihood.log_prob(m, x, factor * sigma).sum() < best
    normal = torch.distributions.Normal(m, sigma).log_prob(x).sum() - m.numel() * math.log(256)
    assert best.item() == pytest.approx(normal.item(), rel=1e-5)
    assert torch.allclose(likelihood.sigma, sigma)


def test_an_analytic_variance_has_the_gradient_of_the_log_of_the_squared_error():
    model = tiny(**GAUSSIAN, variance="analytic").train()
    m, x = torch.rand(4, 1, 8, 8, requires_grad=True), torch.rand(4, 1, 8, 8)
    (gradient,) = torch.autograd.grad(-model.fit_log_prob(m, x).sum(), m)
    (expected,) = torch.autograd.grad(m.numel() / 2 * (x - m).square().mean().log(), m)
    assert torch.allclose(gradient, expected, rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_running_variance_is_that_of_images_as_they_are(share):
    """Errors of images that `equivariance` moves or halves are of another size."""
    options = {"latents": "grid", "downscale": 2, "latent_channels": 2, "width": 8, "depth": 1}
    config = Config(**options, **GAUSSIAN, variance="analytic", equivariance=share)
    torch.manual_seed(0)
    model = build_model(config, blobs(), np.arange(48))[0].train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    seen = []
    original = model.decode_params
    model.decode_params = lambda z, labels=None: seen.append(original(z, labels)) or seen[-1]
    observed = []
    observe = model.observe
    model.observe = lambda batch, seeds=None: observed.append(observe(batch, seeds)) or observed[-1]
    model.loss(batch_of(16))
    assert model.likelihood.num_updates == 1
    if share < 1:
        moved = round(share * 16)
        expected = (seen[-1] - observed[0][moved:]).square().mean()
        assert torch.allclose(model.likelihood.running_variance, expected, rtol=1e-5)


def test_evaluation_leaves_the_running_variance_alone():
    model = tiny(**GAUSSIAN, variance="analytic").train()
    model.loss(batch_of())
    before = model.likelihood.sigma.clone()
    model.eval().loss(batch_of())
    assert torch.equal(before, model.likelihood.sigma)


# -- VampPrior -------------------------------------------------------------------------------------


def test_vamp_prior_is_the_mixture_of_the_posteriors_of_its_images():
    model = tiny(**GAUSSIAN, prior="vamp", pseudo_inputs=5).eval()
    with torch.no_grad():
        mean, logvar = model.posterior(model.prior.pseudo_inputs)
        normal = torch.distributions.Normal(mean, (logvar / 2).exp())
        parts = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(5)),
            torch.distributions.Independent(normal, 1),
        )
        z = 2 * torch.randn(50, 3)
        assert torch.allclose(model.prior.log_prob(z), parts.log_prob(z), atol=1e-4)
        per_latent = model.prior.log_prob_per_latent(z)
        assert torch.allclose(per_latent.sum(1), parts.log_prob(z), atol=1e-3)


def test_vamp_prior_maps_noise_to_its_samples_and_back():
    model = tiny(**GAUSSIAN, prior="vamp", pseudo_inputs=5).eval()
    noise = torch.randn(4000, 3)
    with torch.no_grad():
        z = model.prior.transform(noise)
        inverse, _ = model.prior.inverse(z[:200])
        mean, logvar = model.posterior(model.prior.pseudo_inputs)
        variance = logvar.exp().mean(0) + mean.var(0, correction=0)
    assert torch.allclose(inverse, noise[:200], atol=1e-3)
    assert torch.allclose(z.mean(0), mean.mean(0), atol=0.1)
    assert torch.allclose(z.var(0), variance, rtol=0.15)


def test_vamp_prior_follows_its_weights_without_gradients():
    model = tiny(**GAUSSIAN, prior="vamp", pseudo_inputs=5).eval()
    z = torch.zeros(1, 3)
    with torch.no_grad():
        before = model.prior.log_prob(z)
        model.encoder.out_proj.bias.add_(1.0)
        after = model.prior.log_prob(z)
    assert not torch.equal(before, after)
    assert after.item() == pytest.approx(model.prior.log_prob(z).item(), abs=1e-5)


# -- penalties -------------------------------------------------------------------------------------


def test_total_correlation_of_a_gaussian_has_its_closed_form():
    torch.manual_seed(0)
    covariance = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    n, own = 3000, 0.1
    factor = torch.linalg.cholesky(covariance - own * torch.eye(3))
    mean = torch.randn(n, 3) @ factor.T
    z = mean + math.sqrt(own) * torch.randn(n, 3)
    logvar = torch.full_like(mean, math.log(own))
    value = minibatch_total_correlation(z, mean, logvar, n)
    expected = -0.5 * torch.logdet(covariance)
    assert value.item() == pytest.approx(expected.item(), abs=0.05)


def test_mmd_is_zero_on_average_for_equal_distributions_and_positive_for_others():
    torch.manual_seed(0)
    same = torch.stack([mmd_estimate(torch.randn(20, 3), torch.randn(20, 3)) for _ in range(300)])
    assert abs(same.mean()) < 4 * same.std() / math.sqrt(300)
    assert mmd_estimate(torch.randn(200, 3) + 2, torch.randn(200, 3)) > 0.5


def test_gradient_penalty_is_the_square_norm_of_the_jacobian():
    model = tiny(**GAUSSIAN, gradient_penalty=1.0, network="linear").train()
    expected = (256 / 255) ** 2 * model.decoder.out_proj.weight.square().sum().item()
    values = [model.loss(batch_of(48)).parts["gradient_penalty"].item() for _ in range(60)]
    assert np.mean(values) == pytest.approx(expected, rel=0.15)


def test_ms_ssim_of_one_scale_is_written_out():
    torch.manual_seed(0)
    x, y = torch.rand(1, 1, 11, 11).double(), torch.rand(1, 1, 11, 11).double()
    offsets = np.arange(11) - 5
    g = np.exp(-(offsets**2) / (2 * 1.5**2))
    w = torch.from_numpy(np.outer(g, g) / g.sum() ** 2)
    mx, my = (w * x).sum(), (w * y).sum()
    vx, vy = (w * x**2).sum() - mx**2, (w * y**2).sum() - my**2
    cov = (w * x * y).sum() - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
    expected = expected / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ms_ssim(x, y).item() == pytest.approx(max(1e-4, expected.item()), rel=1e-6)


@given(side=st.integers(4, 60), channels=st.sampled_from([1, 3]))
@settings(max_examples=15, deadline=None)
def test_ms_ssim_is_one_for_equal_images_of_any_size_and_less_for_others(side, channels):
    x = torch.rand(2, channels, side, side + 3)
    assert torch.allclose(ms_ssim(x, x), torch.ones(2), atol=1e-4)
    assert (ms_ssim(x, (x + 0.3 * torch.rand_like(x)).clamp(0, 1)) < 1).all()


def test_ms_ssim_has_the_gradient_of_finite_differences():
    torch.manual_seed(0)
    x = torch.rand(1, 1, 24, 24).double()
    y = (0.7 * x + 0.1 * torch.rand_like(x)).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: ms_ssim(x, y), (y,), fast_mode=True)


DISCRIMINATORS = {
    "total_correlation": {"total_correlation": 1.0, "tc_estimate": "discriminator"},
    "latent_adversarial": {"latent_adversarial": 1.0},
    "adversarial": {"adversarial": 1.0},
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_the_vae_sees_a_discriminator_without_its_parameters_and_the_other_way_round(name):
    """The VAE's gradients do not depend on the discriminator's loss, nor its own on the weight."""
    gradients = {}
    for weight in (1.0, 3.0):
        model = tiny(**GAUSSIAN, **{**DISCRIMINATORS[name], name: weight}).train()
        torch.manual_seed(4)
        model.loss(batch_of()).total.backward()
        discriminator = [p.grad.clone() for p in model.discriminators.parameters()]
        gradients[weight] = discriminator, model.decoder.out_proj.weight.grad.clone(), model
    assert all(map(torch.equal, gradients[1.0][0], gradients[3.0][0]))
    assert all(g.norm() > 0 for g in gradients[1.0][0] if g.ndim > 1)
    model = gradients[1.0][2]
    z = torch.rand(4, 3, requires_grad=True)
    inputs = torch.rand(4, 1, 8, 8, requires_grad=True) if name == "adversarial" else z
    model.zero_grad()
    frozen(model.discriminators[name], inputs).sum().backward()
    assert inputs.grad.norm() > 0
    assert all(p.grad is None for p in model.discriminators.parameters())


def test_a_discriminators_step_does_not_move_the_vae():
    """Without the penalty's weight in the loss the VAE's gradients are those of a plain VAE."""
    model = tiny(**GAUSSIAN, adversarial=1e-12).train()
    torch.manual_seed(4)
    model.loss(batch_of()).total.backward()
    with_discriminator = [p.grad.clone() for p in model.encoder.parameters()]
    model.zero_grad()
    torch.manual_seed(4)
    model.loss(batch_of(), 0.1).total.backward()  # before adversarial_from
    plain = [p.grad for p in model.encoder.parameters()]
    assert all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-4)
        for a, b in zip(with_discriminator, plain, strict=True)
    )
    assert all(p.grad is None for p in model.discriminators.parameters())


def test_the_adversarial_term_weighs_as_much_as_the_likelihood():
    model = tiny(**GAUSSIAN, adversarial=0.5).train()
    params = torch.rand(4, 1, 8, 8, requires_grad=True)
    x = torch.rand(4, 1, 8, 8)
    term = adversarial_term(model, Draw(torch.zeros(4, 3), None, x, params))
    (adversarial,) = torch.autograd.grad(term.loss, params)
    distortion = -model.likelihood.log_prob(params, x).mean()
    (likelihood,) = torch.autograd.grad(distortion, params)
    assert adversarial.norm().item() == pytest.approx(0.5 * likelihood.norm().item(), rel=1e-3)


def test_validation_compares_runs_by_their_bound():
    plain, penalized = tiny(**GAUSSIAN), tiny(**GAUSSIAN, mmd=5.0, ms_ssim=1.0, decoder_l2=1.0)
    losses = []
    for model in (plain, penalized):
        torch.manual_seed(3)
        losses.append(model.eval().loss(batch_of()).total.item())
    assert losses[0] == losses[1]


def test_a_deterministic_posterior_has_no_noise_in_training():
    model = tiny(**BINARY, posterior="deterministic", beta=0.5).train()
    loss = model.loss(batch_of())
    x = model.observe(batch_of())
    mean, _ = model.posterior(x)
    expected = -model.likelihood.log_prob(model.decode_params(mean), x).mean()
    expected = expected + 0.25 * mean.square().sum(1).mean()
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert "elbo" not in loss.parts


# -- every pair ------------------------------------------------------------------------------------

OPTIONS = {
    "sigma": {"sigma": 0.2},
    "analytic": {"variance": "analytic"},
    "per-pixel": {"variance": "per-pixel"},
    "bernoulli": {"likelihood": "bernoulli"},
    "logistic": {"likelihood": "discretized-logistic"},
    "flow": {"prior": "flow"},
    "vamp": {"prior": "vamp", "pseudo_inputs": 6},
    "grid": {"latents": "grid", "downscale": 4, "latent_channels": 2, "width": 8},
    "ladder": {"latents": "ladder", "latent_channels": 2, "network": "conv", "width": 8},
    "linear": {"network": "linear"},
    "conv": {"network": "conv", "width": 8},
    "deterministic": {"posterior": "deterministic"},
    "iaf": {"posterior": "iaf"},
    "vmf": {"posterior": "vmf"},
    "free-bits": {"free_bits": 0.1},
    "warmup": {"kl_warmup": 1.0},
    "beta-0": {"beta": 0.0},
    "l1": {"l1_weight": 1.0},
    "equivariance": {"equivariance": 0.5},
    **BOUNDS,
    "dreg": {"iw_samples": 3, "iw_gradient": DREG},
    "head": {"decoder_head": "autoregressive", "likelihood": "discretized-logistic"},
    "linear-head": {"decoder_head": "linear", "likelihood": "bernoulli"},
    "label": {"condition": "label"},
    "tc": {"total_correlation": 1.0},
    "mmd": {"mmd": 1.0},
    "l2": {"decoder_l2": 0.01},
    "gp": {"gradient_penalty": 0.01},
    "ms-ssim": {"ms_ssim": 0.1},
    "perceptual": {"perceptual": 0.1},
    **{f"{name}-discriminator": options for name, options in DISCRIMINATORS.items()},
}


def merge(first: str, second: str):
    """The options of both, or None where both choose the same option otherwise."""
    a, b = OPTIONS[first], OPTIONS[second]
    if any(a[name] != b[name] for name in a.keys() & b.keys()):
        return None
    merged = {"width": 16, "depth": 1, **a, **b}
    if merged.get("latents") != "grid" and "equivariance" not in merged:
        merged = {"latent_dim": 3, **merged}
    return merged


@pytest.mark.parametrize("first", OPTIONS)
def test_every_pair_of_options_trains_or_is_refused_with_both_names(first):
    images, refusals = blobs(24), {}
    for second in OPTIONS:
        options = None if first >= second else merge(first, second)
        if options is None:
            continue
        torch.manual_seed(0)
        try:
            model = build_model(Config(**options), images, np.arange(12))[0].train()
        except UsageError as error:
            refusals[second] = str(error)
            continue
        loss = model.loss(images.batch(np.arange(12)), 0.9)
        loss.total.backward()
        assert loss.total.isfinite(), f"{first} + {second}"
        for name, p in model.named_parameters():
            assert p.grad is None or p.grad.isfinite().all(), f"{first} + {second}: {name}"
        model.eval()
        assert model.sample(2).pixels.shape == (2, 8, 8, 1)
        assert np.isfinite(model.score(images[:2])).all()
    for second, message in refusals.items():
        for option in (OPTIONS[first], OPTIONS[second]):
            assert mentions(message, option), f"{first} + {second}: {message}"


def mentions(message: str, options: dict) -> bool:
    """Whether an error names one of the options, or the choice that one of them makes."""
    words = {*options, *(v for v in options.values() if isinstance(v, str))}
    words |= {"a grid"} if options.get("latents") == "grid" else set()
    return any(word in message or word.replace("_", "-") in message for word in words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iw_groups": 0}, "iw_groups must be at least 1"),
        ({"iw_elbo_share": 0.5}, "iw_elbo_share is of several samples"),
        ({"iw_gradient": DREG}, "iw_gradient is of several samples"),
        ({"mmd": -1.0}, "mmd must be 0 or more"),
        ({"ms_ssim": math.nan}, "ms_ssim must be 0 or more"),
        ({"pseudo_inputs": 5}, "pseudo_inputs are of prior vamp"),
        ({"sigma": 0.1, "variance": "analytic"}, "leave out sigma or variance"),
        ({"posterior": "deterministic", "prior": "flow"}, "shrinks to a point"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options)


def test_more_pseudo_inputs_than_images_are_refused():
    with pytest.raises(UsageError, match="pseudo_inputs 49 are more than the 48"):
        tiny(prior="vamp", pseudo_inputs=49)


def test_discriminator_tells_shuffled_latents_by_cross_entropy():
    """The best logit is log q(z) - log prod q(z_k), whose mean is the TC."""
    model = tiny(**GAUSSIAN, **DISCRIMINATORS["total_correlation"])
    discriminator = model.discriminators["total_correlation"]
    torch.manual_seed(0)
    factor = torch.linalg.cholesky(torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0, 0, 1.0]]))
    optimizer = torch.optim.Adam(discriminator.parameters(), 3e-3)
    for _ in range(400):
        z = torch.randn(256, 3) @ factor.T
        other = torch.randn(256, 3)
        loss = F.softplus(-discriminator(z)).mean() + F.softplus(discriminator(other)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    z = torch.randn(4000, 3) @ factor.T
    assert discriminator(z).mean().item() == pytest.approx(-0.5 * math.log(1 - 0.81), abs=0.2)


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", range(1, len(variants())))
def test_resuming_is_exact_with_discriminators_and_running_variances(variant, tmp_path):
    """A checkpoint after 3 of 6 steps gives the weights of a training that was not interrupted."""
    from itertools import islice

    from lightning_fabric import Fabric

    images, settings = (
        blobs(),
        TrainingSettings(
            steps=6,
            batch_size=16,
            learning_rate=1e-3,
            warmup_steps=0,
            precision="fp32",
            augment="off",
        ),
    )
    states = []
    for _ in range(2):
        model = build_model(variants()[variant], images, np.arange(48), seed=1)[0].train()
        states.append(create_train_state(model, settings, Fabric(accelerator="cpu", devices=1)))
    whole, resumed = states
    for state, steps in ((whole, 3), (whole, 3), (resumed, 3)):
        if state is resumed:
            load_checkpoint(tmp_path, resumed)
        progress = lambda counters: counters.step / 6  # noqa: E731
        list(islice(train_steps(state, images, np.arange(48), settings, progress), steps))
        if state.counters.step == 3:
            save_checkpoint(tmp_path, state)
    assert whole.counters.step == resumed.counters.step == 6
    tensors = whole.module.state_dict()
    assert all(torch.equal(v, tensors[k]) for k, v in resumed.module.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 2}, "--mmd is of a batch as a whole"),
        ({"devices": 2}, "--mmd is of a batch as a whole"),
        ({"batch_size": 1}, "--mmd compares images of a batch"),
    ],
)
def test_divided_batches_and_single_images_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        check_whole_batches(tiny(mmd=1.0), TrainingSettings(steps=1, **options))
    check_whole_batches(tiny(), TrainingSettings(steps=1, **options))


def test_processes_of_a_launcher_divide_a_batch_too(monkeypatch):
    """torchrun's are not in the settings."""
    processes = SimpleNamespace(world_size=2)
    monkeypatch.setattr("pinxit.training.prepare.current_processes", lambda: processes)
    with pytest.raises(UsageError, match="of a batch as a whole"):
        check_whole_batches(tiny(mmd=1.0), TrainingSettings(steps=1))
    check_whole_batches(tiny(), TrainingSettings(steps=1))
