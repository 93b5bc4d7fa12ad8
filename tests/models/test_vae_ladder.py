"""A ladder of latents: its bound, its levels, and the plain VAE that one level is."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.vae.config import Config
from pinxit.models.vae.inference import draw, draw_samples
from pinxit.models.vae.multisample_bound import multisample_bound
from pinxit.nn.layers import ResidualConv
from tests.builders import blobs

TINY = {"latents": "ladder", "latent_dim": 3, "latent_channels": 2, "width": 8, "depth": 1}
BINARY = {"likelihood": "bernoulli", "binarize": "static"}


def build(size=(8, 8), channels=1, **options):
    """A ladder whose levels all depend on one another: random weights in the zero layers, too."""
    torch.manual_seed(0)
    images = blobs(96, *size, channels)
    model = build_model(Config(**{**TINY, **options}), images, np.arange(48))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, images


def observe(model, images, n=4):
    return model.observe(images.batch(np.arange(n)))


# -- one level is the plain VAE --------------------------------------------------------------------


def map_weights(plain, ladder) -> None:
    """Copy a plain VAE, whose upsampling repeats pixels, to a ladder of one level."""
    for name in ("in_proj", "out_proj"):
        part = "decoder" if name == "in_proj" else "encoder"
        getattr(getattr(ladder, part), name).load_state_dict(
            getattr(getattr(plain, part), name).state_dict()
        )
    stages = [module for stage in ladder.encoder.stages for module in stage]
    copy_in_order(plain.encoder.blocks, torch.nn.Sequential(*stages))
    stages = ladder.decoder.stages
    convs = [m for m in plain.decoder.blocks if isinstance(m, torch.nn.Conv2d)]
    blocks = [m for m in plain.decoder.blocks if isinstance(m, ResidualConv)]
    for block, stage in zip(blocks, stages, strict=True):
        stage.blocks[0].load_state_dict(block.state_dict())
    for conv, stage in zip(convs[:-1], stages[1:], strict=True):
        stage.channel_proj.weight.copy_(conv.weight[::4])
        stage.channel_proj.bias.copy_(conv.bias[::4])
        conv.weight.copy_(stage.channel_proj.weight.repeat_interleave(4, 0))
        conv.bias.copy_(stage.channel_proj.bias.repeat_interleave(4, 0))
    ladder.decoder.out_proj.load_state_dict(convs[-1].state_dict())


def copy_in_order(source, target) -> None:
    for a, b in zip(source.parameters(), target.parameters(), strict=True):
        b.copy_(a)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (13, 22)])
def test_one_level_is_the_plain_vae(size):
    ladder, images = build(size, levels=1, **BINARY)
    options = {"latents": "vector", "network": "conv", "latent_dim": 3, "width": 8, "depth": 1}
    plain = build_model(Config(**options, **BINARY), images, np.arange(48))[0]
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        map_weights(plain, ladder)
    batch = images.batch(np.arange(16))
    losses = []
    for model in (plain, ladder):
        torch.manual_seed(1)
        loss = model.loss(batch)
        loss.total.backward()
        losses.append(loss.total.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert torch.allclose(plain.encoder.out_proj.weight.grad, ladder.encoder.out_proj.weight.grad,
                          atol=1e-5)  # fmt: skip
    for model in (plain, ladder):
        model.eval()
    assert np.abs(plain.sample(5).pixels.astype(int) - ladder.sample(5).pixels).max() <= 1
    assert np.allclose(plain.encode(images[:4]).mean, ladder.encode(images[:4]).mean, atol=1e-5)
    assert np.allclose(plain.score(images[:4]), ladder.score(images[:4]), atol=1e-3)


# -- the bound -------------------------------------------------------------------------------------


def test_the_kl_is_that_of_the_conditional_gaussians_and_adds_up_over_levels():
    """In z, not in u: KL(N(mu_q, s_q) || N(mu_p, s_p)) of each level at the sampled z_<l."""
    model, images = build((16, 16), **BINARY)
    x = observe(model, images)
    drawn = draw(model, x, None, torch.randn(4, model.latent_dim))
    rate = model.prior.kl(drawn.q.mean, drawn.q.logvar, drawn.z)
    parts, priors, decoder = model.decoder.split(drawn.z), [], model.decoder

    def choose(level, h, mean, logvar):
        priors.append((mean, logvar))
        return parts[level]

    decoder.decode_top_down(4, None, choose)
    levels = [decoder.split(part) for part in (drawn.q.mean, drawn.q.logvar, rate)]
    for (mean_p, logvar_p), mean, logvar, of_level in zip(priors, *levels, strict=True):
        scale = (0.5 * logvar_p).exp()
        posterior = Normal(mean_p + scale * mean, scale * (0.5 * logvar).exp())
        expected = kl_divergence(posterior, Normal(mean_p, scale))
        assert torch.allclose(of_level, expected, atol=1e-4)
    by_level = [part.flatten(1).sum(1) for part in levels[2]]
    terms = model.elbo(x, None, [0, 1, 2, 3])
    assert len(by_level) == 3
    assert torch.allclose(sum(by_level), rate.sum(1), rtol=1e-5)
    assert terms.rate.shape == (4, model.latent_dim)
    assert any(logvar.abs().max() > 0.01 for _, logvar in priors[1:])  # the prior is learned


@pytest.mark.parametrize("options", [{}, {"iw_samples": 4}, {"iw_samples": 2, "iw_groups": 2}])
def test_a_bound_is_on_average_at_most_the_exact_likelihood(options):
    """One latent in each of two levels: log p(x) is a sum over a fine plane."""
    model, images = build(levels=2, latent_dim=1, latent_channels=1, **BINARY, **options)
    model.latent_dim = 2  # only the first position of the grid is random
    restrict_grid(model)
    x = observe(model, images, 3)
    axis = torch.linspace(-8, 8, 161)
    plane = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        params = model.decode_params(plane)
        log_joint = (
            model.likelihood.log_prob(params[:, None], x) + model.prior.log_prob(plane)[:, None]
        )
        exact = log_joint.double().logsumexp(0) + 2 * math.log(0.1)
        torch.manual_seed(3)
        repeated = x.repeat_interleave(1500, 0)
        noise = torch.randn(len(repeated), model.config.num_iw_samples, 2)
        values = multisample_bound(model, repeated, None, noise).value.view(3, -1).double()
        estimate = model.log_weights(x, None, 4000, [5, 6, 7]).double()
        mixed = model.log_weights(x, None, 4000, [5, 6, 7], 0.3).double()
    error = values.std(1) / math.sqrt(1500)
    assert (values.mean(1) < exact + 4 * error).all()
    assert (values.mean(1) > exact - 20).all()
    # a q that misses modes estimates too little; a mixture with the prior finds them
    assert (log_mean_exp(estimate) < exact + 5 * relative_error(estimate, exact) + 0.01).all()
    off = (log_mean_exp(mixed) - exact).abs()
    assert (off < 5 * relative_error(mixed, exact) + 0.01).all()


def log_mean_exp(weights):
    return weights.logsumexp(1) - math.log(weights.shape[1])


def relative_error(weights, exact):
    return (weights - exact[:, None]).exp().std(1) / math.sqrt(weights.shape[1])


def restrict_grid(model) -> None:
    """Give the grid one latent: the others are 0, and no part of the model."""
    decoder, encoder = model.decoder, model.encoder
    rows, columns = decoder.levels[1][1:]
    first = torch.zeros(rows, columns)
    first[0, 0] = 1

    def split(u):
        return [u[:, :1, None, None], u[:, 1:, None, None] * first]

    posterior, infer = encoder._posterior, encoder.infer

    def posterior_of_first(level, *args):
        mean, logvar = posterior(level, *args)
        return (mean * first if level == 1 else mean), logvar

    def infer_restricted(*args):
        inferred = infer(*args)
        return type(inferred)(*(part[:, :2] for part in inferred[:3]), inferred.decoded)

    decoder.split, encoder._posterior, encoder.infer = split, posterior_of_first, infer_restricted


def test_samples_of_several_are_those_of_one_and_their_density_is_that_of_a_second_pass():
    model, images = build(**BINARY)
    x = observe(model, images)
    noise = torch.randn(4, 3, model.latent_dim)
    several = draw_samples(model, x, None, noise)
    assert several.decoded.shape == (4, 3, 1, 8, 8)
    for k in range(3):
        one = draw(model, x, None, noise[:, k])
        assert torch.allclose(several.z[:, k], one.z, atol=1e-5)
        assert torch.allclose(several.decoded[:, k], one.decoded, atol=1e-5)
        log_q = one.q.log_prob(one.z[:, None])[:, 0]
        assert torch.allclose(several.log_q[:, k], log_q, atol=1e-3)
    drawn = draw(model, x, None, noise[:, 0])
    features = model.encoder.features(model.standardize(x), None)
    again = model.encoder.infer(features, None, 0 * noise[:, 0], drawn.z)
    assert torch.allclose(again.mean, drawn.q.mean, atol=1e-6)
    assert torch.allclose(again.u, drawn.z)
    assert torch.allclose(model.decode_params(drawn.z), drawn.decoded, atol=1e-5)


def test_a_level_depends_on_the_coarser_ones_only():
    model, images = build((16, 16), **BINARY)
    x = observe(model, images, 1)
    noise = torch.randn(1, model.latent_dim)
    first = draw(model, x, None, noise).q.mean
    sizes = model.decoder.sizes
    for level, start in enumerate(np.cumsum([0, *sizes[:-1]]).tolist()):
        changed = noise.clone()
        changed[:, start : start + sizes[level]] += 1
        moved = (draw(model, x, None, changed).q.mean != first).split(sizes, 1)
        assert not any(part.any() for part in moved[: level + 1])
        assert all(part.any() for part in moved[level + 1 :])


def test_every_level_has_a_gradient_in_prior_and_posterior():
    model, images = build((32, 32), **BINARY)
    model.train().loss(images.batch(np.arange(16))).total.backward()
    assert len(model.decoder.levels) == 4
    for stage in model.decoder.stages:
        if stage.latent_channels is not None:
            assert stage.prior.conv2.weight.grad.abs().max() > 0
            assert stage.in_proj.weight.grad.abs().max() > 0
    for head in model.encoder.posteriors:
        assert head.conv2.weight.grad.abs().max() > 0
    assert model.encoder.out_proj.weight.grad.abs().max() > 0


def test_residual_blocks_start_scaled_by_their_number():
    """The variance of W2 is that of a layer alone, over N (Child 2021, sec. 3.3)."""
    model = build_model(
        Config(**{**TINY, "depth": 4, "width": 32}), blobs(96, 32, 32), np.arange(48)
    )[0]
    blocks = [m for m in model.decoder.modules() if isinstance(m, ResidualConv)]
    assert len(blocks) == 12
    for block in blocks:
        fan_in = block.conv2.in_channels
        expected = 1 / math.sqrt(3 * fan_in) / math.sqrt(12)
        assert block.conv2.weight.std().item() == pytest.approx(expected, rel=0.1)


# -- options ---------------------------------------------------------------------------------------


@given(
    height=st.integers(8, 70), width=st.integers(8, 70), channels=st.sampled_from([1, 3]),
    extra=st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_levels_follow_the_size_and_more_are_refused_with_the_largest_number(
    height, width, channels, extra
):
    info = blobs(16, height, width, channels).info()
    config = Config(latents="ladder").resolve(info)
    most = config.levels
    assert 2 <= most <= 5
    assert min(height, width) / 2**most < 8  # the coarsest grid has 4 to 7 positions a side
    for levels in range(1, most + 1):
        assert Config(levels=levels).resolve(info).latents == "ladder"
    with pytest.raises(UsageError, match=f"levels {most + 1 + extra} is more .* at most {most}"):
        Config(levels=most + 1 + extra).resolve(info)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (64, 64), (13, 22)])
def test_levels_grow_with_the_size(size):
    model, images = build(size, **BINARY)
    shapes = model.decoder.levels
    assert shapes[0] == (3, 1, 1)
    finest = math.ceil(size[0] / 2), math.ceil(size[1] / 2)
    assert all(b[1:] == (2 * a[1], 2 * a[2]) for a, b in pairwise(shapes[1:]))
    assert 0 <= shapes[-1][1] - finest[0] < 2 ** len(shapes)
    assert model.latent_dim == sum(map(math.prod, shapes))
    assert model.reconstruct(images[:2]).pixels.shape == (2, *size, 1)
    assert model.sample(2).pixels.shape == (2, *size, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "mlp"}, "needs network conv, not mlp"),
        ({"prior": "flow"}, "a ladder .* learns a prior for each level"),
        ({"prior": "vamp"}, "a ladder .* learns a prior for each level"),
        ({"downscale": 4}, "downscale is of a grid"),
        ({"equivariance": 0.1}, "equivariance is of a grid"),
        ({"posterior": "deterministic"}, "has no KL, by which the levels"),
        ({"iw_samples": 2, "iw_gradient": "doubly-reparameterized"}, "with q.z.x. held"),
        ({"iw_samples": 2, "iw_groups": 2, "iw_decoder": "joint"}, "they share their path"),
        ({"total_correlation": 1.0}, "needs tc_estimate discriminator with a ladder"),
        ({"levels": 0}, "levels must be at least 1"),
    ],
)
def test_options_that_do_not_go_with_a_ladder_are_refused(options, message):
    for ladder in ({"latents": "ladder"}, {"levels": 2}):
        with pytest.raises(UsageError, match=message):
            Config(**{**ladder, **options})


@pytest.mark.parametrize("latents", ["vector", "grid"])
def test_levels_are_of_a_ladder(latents):
    with pytest.raises(UsageError, match=f"levels are of latents ladder; these are a {latents}"):
        Config(latents=latents, levels=2)


def test_labels_condition_every_level():
    model, images = build((16, 16), condition="label", **BINARY)
    x, labels = observe(model, images, 2), torch.tensor([0, 1])
    u = torch.randn(2, model.latent_dim)
    assert not torch.equal(model.decode_params(u, labels), model.decode_params(u, labels.flip(0)))
    mean = model.posterior(x, labels)[0]
    moved = (mean != model.posterior(x, labels.flip(0))[0]).split(model.decoder.sizes, 1)
    assert all(part.any() for part in moved)
    assert len(model.sample(2, label="north-west")) == 2
    several = model.log_weights(x, labels, 3, [1, 2], 0.2)
    assert several.shape == (2, 3)
