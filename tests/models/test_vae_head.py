"""Heads of the decoder: causal, normalized, the fast generation against the slow, and z used."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.vae.autoregressive_head import FEATURES, AutoregressiveHead
from pinxit.models.vae.autoregressive_likelihood import Autoregressive
from pinxit.models.vae.config import Config
from pinxit.models.vae.likelihoods import Bernoulli, DiscretizedLogistic
from pinxit.models.vae.linear_head import LinearHead
from pinxit.nn.image_seeds import draw_uniforms
from tests.builders import blobs

HEAD = {"decoder_head": "autoregressive"}


def with_head(pixels, channels):
    return Autoregressive(pixels, AutoregressiveHead(channels, pixels.out_channels))


def with_linear_head(channels, height, width):
    head = LinearHead(channels, height, width)
    torch.nn.init.normal_(head.weight)
    return Autoregressive(Bernoulli(channels, dynamic=False), head)


# for images of a height and width
LIKELIHOODS = {
    "bernoulli": lambda height, width: with_head(Bernoulli(1, dynamic=False), 1),
    "logistic": lambda height, width: with_head(DiscretizedLogistic(3, 2), 3),
    "linear": lambda height, width: with_linear_head(1, height, width),
    "linear in color": lambda height, width: with_linear_head(3, height, width),
}
BINARY = ["bernoulli", "linear"]


def build_likelihood(name, height, width):
    torch.manual_seed(0)
    return LIKELIHOODS[name](height, width)


def build(images=None, **options):
    torch.manual_seed(0)
    config = Config(**{"latent_dim": 4, "width": 16, "depth": 1, **HEAD, **options})
    return build_model(config, images or blobs(), np.arange(48))[0]


def test_a_pixel_sees_a_few_before_it_and_neither_itself_nor_later_ones():
    head = AutoregressiveHead(1, 3)
    features, x = torch.randn(1, FEATURES, 12, 12), torch.rand(1, 1, 12, 12, requires_grad=True)
    for row, column in ((0, 0), (5, 6), (11, 11), (7, 0)):
        (gradient,) = torch.autograd.grad(head(features, x)[0, :, row, column].sum(), x)
        seen = gradient[0, 0] != 0
        order = torch.arange(144).view(12, 12)
        assert not (seen & (order >= order[row, column])).any()
        rows, columns = torch.nonzero(seen, as_tuple=True)
        assert (rows >= row - 2).all()
        assert ((columns - column).abs() <= 2).all()
    assert seen.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_of_a_linear_head_a_pixel_sees_all_before_it(channels):
    head = with_linear_head(channels, 5, 6).head
    x = torch.rand(1, channels, 5, 6, requires_grad=True)
    order = torch.arange(30).view(5, 6)
    for row, column in ((0, 0), (2, 3), (4, 5)):
        logits = head(torch.zeros(1, channels, 5, 6), x)
        (gradient,) = torch.autograd.grad(logits[0, :, row, column].sum(), x)
        before = (order < order[row, column]).expand(channels, -1, -1)
        assert torch.equal(gradient[0] != 0, before)


def test_a_linear_head_shifts_logits_by_the_sum_of_its_weights():
    head = with_linear_head(2, 2, 2).head
    x, features = torch.rand(2, 2, 2), torch.randn(2, 2, 2)
    logits = head(features, x)
    weight = head.weight.view(2, 4, 2, 4)
    for channel, pixel in itertools.product(range(2), range(4)):
        expected = features[channel].flatten()[pixel].item()
        for other, earlier in itertools.product(range(2), range(pixel)):
            seen = 2 * x[other].flatten()[earlier] - 1
            expected += (weight[channel, pixel, other, earlier] * seen).item()
        assert logits[channel].flatten()[pixel].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", BINARY)
def test_the_probabilities_of_all_images_sum_to_one(name):
    likelihood = build_likelihood(name, 3, 3)
    features = torch.randn(1, likelihood.out_channels, 3, 3).expand(512, -1, -1, -1)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).view(512, 1, 3, 3)
    total = likelihood.log_prob(features, images).double().logsumexp(0)
    assert total.item() == pytest.approx(0, abs=1e-5)


def test_the_values_of_a_pixel_sum_to_one_whatever_stands_before_it():
    likelihood = with_head(DiscretizedLogistic(1, 2), 1)
    features = torch.randn(1, FEATURES, 4, 4)
    x = (torch.rand(1, 1, 4, 4) * 255).round() / 255
    # the last pixel is seen by none: its factor is what its value changes
    values = x.repeat(256, 1, 1, 1)
    values[:, 0, 3, 3] = torch.arange(256) / 255
    log_p = likelihood.log_prob(features.expand(256, -1, -1, -1), values).double()
    params = likelihood.head(features, x)
    others = likelihood.pixels.log_prob(params[..., :3, :], x[..., :3, :])
    others = others + likelihood.pixels.log_prob(params[..., 3:, :3], x[..., 3:, :3])
    assert (log_p.logsumexp(0) - others).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_generation_pixel_by_pixel_is_that_of_full_passes(name):
    """The slow way: the whole head for each pixel."""
    likelihood = build_likelihood(name, 6, 7)
    features, seeds = torch.randn(3, likelihood.out_channels, 6, 7), [4, 5, 6]
    fast = likelihood.sample(features, seeds)
    u = draw_uniforms((3, likelihood.pixels.num_uniforms, 6, 7), seeds)
    slow = torch.zeros_like(fast)
    means, seen = torch.zeros_like(fast), torch.zeros_like(fast)
    with torch.no_grad():
        for row in range(6):
            for column in range(7):
                at = (..., slice(row, row + 1), slice(column, column + 1))
                params = likelihood.head(features, slow)[at]
                slow[at] = likelihood.pixels.round(likelihood.pixels.transform(params, u[at]))
                means[at] = likelihood.pixels.mean(likelihood.head(features, seen)[at])
                seen[at] = likelihood.pixels.round(means[at])
    assert torch.equal(fast, slow)
    assert torch.allclose(likelihood.mean(features), means, atol=1e-5)
    assert fast.std() > 0.05


@pytest.mark.parametrize("name", BINARY)
def test_samples_follow_the_probabilities_of_images(name):
    likelihood = build_likelihood(name, 2, 2)
    if name == "bernoulli":
        with torch.no_grad():
            likelihood.head.out_proj.weight.mul_(8)  # pixels that depend on one another
    features = torch.randn(1, likelihood.out_channels, 2, 2)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    with torch.no_grad():
        p = likelihood.log_prob(features.expand(16, -1, -1, -1), images).exp()
    samples = likelihood.sample(features.expand(4000, -1, -1, -1), range(4000))
    codes = (samples.flatten(1) * torch.tensor([8.0, 4.0, 2.0, 1.0])).sum(1).long()
    found = torch.bincount(codes, minlength=16) / 4000
    assert ((found - p).abs() < 5 * (p * (1 - p) / 4000).sqrt() + 1e-3).all()


@pytest.mark.parametrize("head", ["autoregressive", "linear"])
def test_importance_samples_are_those_of_single_images(head):
    model = build(likelihood="bernoulli", binarize="static", decoder_head=head)
    x = model.observe(blobs().batch(np.arange(3)))
    weights = model.log_weights(x, None, 4, [1, 2, 3])
    alone = model.log_weights(x[1:2], None, 4, [2])
    assert torch.allclose(weights[1:2], alone, atol=1e-4)
    fast = model.importance_log_weights(x, None, 100, [1, 2, 3])
    assert (fast is None) == (head == "autoregressive"), "its logits given x are not linear"


@pytest.mark.parametrize(
    "options",
    [
        {"network": "mlp"},
        {"network": "conv", "decoder_head": "linear"},
        {"latents": "ladder", "latent_channels": 2},
    ],
)
def test_samples_depend_on_their_own_seed_only(options):
    model = build(likelihood="bernoulli", **options).eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    pixels = model.sample(5, seed=3).pixels
    assert np.array_equal(model.sample(2, seed=3, start=2).pixels, pixels[2:4])
    assert not np.array_equal(model.sample(5, seed=4).pixels, pixels)
    assert set(np.unique(pixels)) <= {0, 255}
    cold = model.sample(3, temperature=0).pixels
    assert (cold == cold[0]).all()
    images = blobs()[:4]
    assert np.array_equal(model.reconstruct(images).pixels, model.reconstruct(images).pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "gaussian"}, "probabilities of values"),
        ({"ms_ssim": 0.1}, "ms_ssim takes the mean of p.x.z., which only decoder_head"),
        ({"gradient_penalty": 0.1}, "gradient_penalty takes the mean"),
        ({"adversarial": 0.1}, "adversarial takes the mean"),
        ({"perceptual": 0.1}, "perceptual takes the mean"),
        ({"latents": "grid", "equivariance": 0.1}, "which equivariance turns"),
        ({"decoder_head": "linear", "likelihood": "gaussian"}, "linear gives logits"),
        ({"decoder_head": "linear", "likelihood": "discretized-logistic"}, "linear gives logits"),
        ({"decoder_head": "linear", "ms_ssim": 0.1}, "which only decoder_head"),
    ],
)
def test_options_that_a_head_does_not_go_with_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**{**HEAD, **options})


def test_grey_images_without_a_likelihood_and_large_ones_are_refused():
    with pytest.raises(UsageError, match="needs --likelihood bernoulli or discretized-logistic"):
        Config(**HEAD).resolve(blobs(channels=3).info())
    with pytest.raises(UsageError, match="up to 64 x 64, not 8 x 65"):
        Config(**HEAD, likelihood="bernoulli").resolve(blobs(8, 8, 65).info())
    linear = Config(decoder_head="linear")
    with pytest.raises(UsageError, match="needs --likelihood bernoulli; here it is gaussian"):
        linear.resolve(blobs(channels=3).info())
    with pytest.raises(UsageError, match=r"up to 4,096 values, not 4,160"):
        dataclasses.replace(linear, likelihood="bernoulli").resolve(blobs(8, 64, 65).info())


@pytest.mark.long
def test_the_head_leaves_what_is_global_to_z():
    """Digits after a short training: a rate of nats, and another z changes the likelihood."""
    from sklearn.datasets import load_digits

    from pinxit.data.images import Images

    pixels = (load_digits().images[:1024] * 15.9).astype(np.uint8)[..., None]
    images = Images(pixels)
    torch.manual_seed(0)
    options = {"likelihood": "bernoulli", "binarize": "static", "latent_dim": 8}
    config = Config(**HEAD, **options, width=64, depth=1)
    model = build_model(config, images, np.arange(1024))[0].train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(images.batch(rng.integers(0, 1024, 64))).total.backward()
        optimizer.step()
    model.eval()
    x = model.observe(images.batch(np.arange(200)), range(200))
    with torch.no_grad():
        terms = model.elbo(x, None, range(200))
        mean = model.posterior(x)[0]
        other = -model.likelihood.log_prob(model.decode_params(mean.roll(1, 0)), x)
        own = -model.likelihood.log_prob(model.decode_params(mean), x)
    assert terms.rate.sum(1).mean() > 1
    assert (other - own).mean() > 5
