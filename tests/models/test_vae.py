"""The VAE's equations against torch.distributions, autograd, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.batch import Batch, DatasetInfo
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models.vae import build
from pinxit.models.vae.config import Config
from pinxit.models.vae.priors import FlowPrior, StandardPrior
from pinxit.nn.layers import drop_labels
from tests.builders import blobs

TINY = {"latent_dim": 3, "width": 16, "depth": 1}


def tiny(**options):
    torch.manual_seed(0)
    return build(Config(**{**TINY, "network": "mlp", **options}), blobs().info())


# -- KL ------------------------------------------------------------------------------------------


@given(mean=st.floats(-5, 5), logvar=st.floats(-8, 4))
@settings(max_examples=100, deadline=None)
def test_closed_form_kl_matches_torch_distributions(mean, logvar):
    q = torch.distributions.Normal(mean, math.exp(logvar / 2))
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    m, s = torch.tensor([[mean]]), torch.tensor([[logvar]])
    assert StandardPrior().kl(m, s, m).item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


def test_flow_prior_starts_as_standard_normal_and_its_kl_estimate_is_unbiased():
    torch.manual_seed(0)
    mean, logvar = torch.randn(1, 4), torch.randn(1, 4)
    z = mean + (logvar / 2).exp() * torch.randn(200_000, 4)
    estimate = FlowPrior(4, width=8).kl(mean, logvar, z).mean(0)
    assert torch.allclose(estimate, StandardPrior().kl(mean, logvar, mean)[0], atol=0.03)


def random_flow(latent_dim: int) -> FlowPrior:
    flow = FlowPrior(latent_dim, width=16)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return flow


def test_flow_is_invertible_and_its_log_determinant_matches_autograd():
    torch.manual_seed(0)
    flow, noise = random_flow(5), torch.randn(7, 5)
    z = flow.transform(noise)
    inverse, log_det = flow.inverse(z)
    assert torch.allclose(inverse, noise, atol=1e-4)
    for i in range(7):
        jacobian = torch.autograd.functional.jacobian(lambda row: flow.inverse(row[None])[0], z[i])
        expected = torch.linalg.slogdet(jacobian[0]).logabsdet
        assert log_det[i].sum().item() == pytest.approx(expected.item(), abs=1e-4)


def test_flow_prior_integrates_to_one():
    torch.manual_seed(0)
    flow = random_flow(2)
    axis = torch.linspace(-25, 25, 1001)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        total = flow.log_prob(z).double().exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=0.01)


# -- the bound -----------------------------------------------------------------------------------


def test_loss_sums_over_dimensions_and_averages_over_the_batch_only():
    model, images = tiny(likelihood="bernoulli", binarize="static"), blobs(6)
    torch.manual_seed(5)
    loss = model.loss(images.batch(np.arange(6)))
    x = model.observe(images.batch(np.arange(6)))
    mean, logvar = model.posterior(x)
    torch.manual_seed(5)
    z = mean + (logvar / 2).exp() * torch.randn(mean.shape)
    expected = 0.0
    for i in range(6):
        logits = model.decode_params(z[i : i + 1])[0]
        p = torch.distributions.Bernoulli(logits=logits)
        q = torch.distributions.Normal(mean[i], (logvar[i] / 2).exp())
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
        expected += (kl - p.log_prob(x[i]).sum()).item() / 6
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    assert loss.parts["elbo"].item() == pytest.approx(-expected, rel=1e-5)
    assert loss.unit == "nats per image"


def test_beta_warmup_and_free_bits_affect_the_kl_only():
    images = blobs(32).batch(np.arange(32))

    def total_and_parts(progress: float, **options):
        model = tiny(likelihood="bernoulli", binarize="static", **options).train()
        torch.manual_seed(1)
        loss = model.loss(images, progress)
        return loss.total.item(), {k: v.item() for k, v in loss.parts.items()}

    total, parts = total_and_parts(1.0, beta=3.0)
    assert total == pytest.approx(parts["reconstruction"] + 3 * parts["kl"], rel=1e-5)
    total, parts = total_and_parts(0.1, kl_warmup=0.4)
    assert total == pytest.approx(parts["reconstruction"] + 0.25 * parts["kl"], rel=1e-5)
    total, parts = total_and_parts(1.0, free_bits=50.0)
    assert total == pytest.approx(parts["reconstruction"] + 3 * 50, rel=1e-5)


def test_gradients_through_the_reparameterized_sample_match_finite_differences():
    model, batch = tiny(likelihood="gaussian", sigma=0.3).double(), blobs(4)
    x = (torch.from_numpy(batch.pixels).permute(0, 3, 1, 2) / 256).double()
    noise = torch.randn(4, 3, dtype=torch.float64)

    def negative_elbo(mean, logvar):
        z = mean + (logvar / 2).exp() * noise
        params = model.decoder(z, None) + model.info.mean
        return -model.likelihood.log_prob(params, x) + model.prior.kl(mean, logvar, z).sum(1)

    mean = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    logvar = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(negative_elbo, (mean, logvar))


@pytest.mark.parametrize("prior", ["standard", "flow"])
def test_more_iw_samples_tighten_the_bound(prior):
    model, images = tiny(likelihood="bernoulli", prior=prior), blobs(200)
    seeds = range(200)
    with torch.no_grad():
        x = model.observe(images.batch(np.arange(200)), seeds)
        # the ELBO is the mean of the log-weights; many samples, as one has more noise than the gap
        bounds = [model.log_weights(x, None, 50, range(200, 400)).mean().item()]
        for samples in (5, 50):
            w = model.log_weights(x, None, samples, seeds)
            bounds.append((w.logsumexp(1) - math.log(samples)).mean().item())
    assert bounds[0] < bounds[1] < bounds[2]


def test_importance_weighted_loss_equals_the_bound_of_log_weights_after_iw_from():
    batch = blobs(32).batch(np.arange(32))
    model = tiny(likelihood="bernoulli", binarize="static", iw_samples=7).train()
    torch.manual_seed(3)
    loss = model.loss(batch, 0.7)
    torch.manual_seed(3)
    weights = model.log_weights(model.observe(batch), None, 7)
    bound = (weights.logsumexp(1) - math.log(7)).mean().item()
    assert loss.total.item() == pytest.approx(-bound, rel=1e-5)
    assert loss.parts["elbo"].item() == pytest.approx(weights.mean().item(), rel=1e-5)
    assert "iw_7" not in model.loss(batch, 0.5).parts


def ppca(data: np.ndarray, latent: int) -> tuple[np.ndarray, float, float]:
    """Closed-form maximum likelihood of probabilistic PCA (Tipping & Bishop 1999, eq. 7, 8, 3).

    Returns the covariance C = W W' + sigma^2 I, sigma, and the mean log-likelihood.
    """
    d = data.shape[1]
    covariance = np.cov(data.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[latent:].mean()
    w = vectors[:, :latent] * np.sqrt(values[:latent] - noise)
    c = w @ w.T + noise * np.eye(d)
    log_likelihood = -0.5 * (
        d * math.log(2 * math.pi)
        + np.linalg.slogdet(c)[1]
        + np.trace(np.linalg.solve(c, covariance))
    )
    return c, math.sqrt(noise), log_likelihood


@pytest.mark.slow
def test_linear_vae_converges_to_probabilistic_pca():
    """Lucas 2019: at its optimum a linear VAE has PPCA's likelihood, and its ELBO is tight."""
    random = np.random.default_rng(0)
    data = 0.5 + random.normal(size=(600, 3)) @ (0.12 * random.normal(size=(3, 12)))
    data = (data + 0.04 * random.normal(size=data.shape)).astype(np.float32)
    _, sigma, maximum = ppca(data, 3)
    info = DatasetInfo(600, 3, 4, 1, mean=0.5, std=float(data.std()))
    torch.manual_seed(0)
    model = build(Config(network="linear", latent_dim=3, likelihood="gaussian"), info)
    x = torch.from_numpy(data).view(-1, 1, 3, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2500)
    for _ in range(2500):
        optimizer.zero_grad()
        elbo = model.elbo(x, None)
        (elbo.distortion + elbo.rate.sum(1)).mean().backward()
        optimizer.step()
        schedule.step()
    to_density = 12 * math.log(256)  # the model's density is over 8-bit values
    with torch.no_grad():
        w = model.log_weights(x, None, 2000, range(len(x))).double()
        estimate = (w.logsumexp(1) - math.log(2000)).numpy() + to_density
        # exact log-likelihood of the trained model
        weight = model.decoder.out_proj.weight.double()
        mean = (model.decoder.out_proj.bias + info.mean).double()
        c = weight @ weight.T + model.likelihood.sigma.double() ** 2 * torch.eye(12)
        exact = torch.distributions.MultivariateNormal(mean, c).log_prob(x.flatten(1).double())
    assert np.abs(estimate - exact.numpy()).max() < 0.05  # image by image
    assert exact.mean().item() == pytest.approx(maximum, abs=0.05)
    assert exact.mean().item() <= maximum + 1e-6
    assert model.likelihood.sigma.item() == pytest.approx(sigma, rel=0.03)


# -- sizes, labels, defaults ----------------------------------------------------------------------


@given(
    height=st.integers(8, 70),
    width=st.integers(8, 70),
    channels=st.sampled_from([1, 3]),
    network=st.sampled_from(["mlp", "conv"]),
)
@settings(max_examples=12, deadline=None)
def test_every_image_size_is_reconstructed(height, width, channels, network):
    info = DatasetInfo(100, height, width, channels)
    model = build(Config(latent_dim=4, width=4, depth=1, network=network), info).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, height, width, channels), np.uint8)
    assert model.reconstruct(Images(pixels)).pixels.shape == pixels.shape
    assert math.isfinite(model.loss(Images(pixels).batch(np.arange(2))).total.item())


def test_largest_image_size_is_sampled():
    model = build(Config(latent_dim=4, width=2, network="conv"), DatasetInfo(100, 256, 256, 3))
    assert model.sample(1).pixels.shape == (1, 256, 256, 3)


def test_label_changes_the_image_and_is_optional():
    model = tiny(condition="label").eval()
    torch.nn.init.normal_(model.decoder.label_embed.embedding.weight)
    first, second = model.sample(2, label="north-west"), model.sample(2, label="3")
    assert not np.array_equal(first.pixels, second.pixels)
    assert not np.array_equal(first.pixels, model.sample(2).pixels)
    with pytest.raises(UsageError, match="no label 'nort-west'; there are: north-west"):
        model.sample(2, label="nort-west")
    with pytest.raises(UsageError, match="trained without labels"):
        tiny().sample(2, label="north-west")


def test_dropped_labels_equal_no_label():
    model = tiny(condition="label", label_dropout=1.0).train()
    assert (drop_labels(torch.tensor([0, 1, 2]), 1.0, training=True) == -1).all()
    assert drop_labels(torch.tensor([0, 1, 2]), 1.0, training=False).tolist() == [0, 1, 2]
    embedding = model.encoder.label_embed
    assert torch.equal(embedding(torch.tensor([-1]), 1), embedding(None, 1))


@pytest.mark.parametrize(
    ("info", "likelihood", "binarize"),
    [
        (
            DatasetInfo(100, 28, 28, 1, binary_fraction=0.82, near_binary_fraction=0.9),
            "bernoulli",
            "dynamic",
        ),
        (
            DatasetInfo(100, 28, 28, 1, binary_fraction=1.0, near_binary_fraction=1.0),
            "bernoulli",
            "static",
        ),
        (
            DatasetInfo(100, 28, 28, 1, binary_fraction=0.5, near_binary_fraction=0.6),
            "gaussian",
            "none",
        ),
        (
            DatasetInfo(100, 28, 28, 3, binary_fraction=1.0, near_binary_fraction=1.0),
            "gaussian",
            "none",
        ),
    ],
)
def test_auto_chooses_the_likelihood_from_the_images(info, likelihood, binarize):
    config = Config().resolve(info)
    assert (config.likelihood, config.binarize) == (likelihood, binarize)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"beta": -1.0}, "beta must be 0 or more"),
        ({"kl_warmup": 1.5}, "kl_warmup must be between 0 and 1"),
        ({"sigma": 0.0}, "sigma must be above 0"),
    ],
)
def test_options_out_of_range_are_rejected(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options)


def test_options_that_the_images_do_not_allow_are_rejected():
    unlabelled = DatasetInfo(100, 8, 8, 1)
    with pytest.raises(UsageError, match="needs images with labels"):
        Config(condition="label").resolve(unlabelled)
    with pytest.raises(UsageError, match="--sigma needs --likelihood gaussian"):
        Config(likelihood="bernoulli", sigma=1.0).resolve(unlabelled)


def test_images_and_latents_of_another_shape_are_rejected():
    with pytest.raises(UsageError, match="takes images of 8x8x1"):
        tiny().encode(blobs(2, 9, 8))
    with pytest.raises(UsageError, match=r"latents must be \[n, 3\]"):
        tiny().decode(np.zeros((2, 4)))


def test_score_is_the_elbo_for_one_sample_and_rises_with_more_samples():
    model, images = tiny(likelihood="bernoulli", binarize="static").eval(), blobs(64)
    scores = {k: model.score(images, samples=k, seed=3) for k in (1, 64)}
    assert scores[64].mean() > scores[1].mean()
    elbo = model.elbo(model.observe(images.batch(np.arange(64))), None)
    expected = -(elbo.distortion + elbo.rate.sum(1)).mean().item()
    assert scores[1].mean() == pytest.approx(expected, abs=1.5)
    assert np.array_equal(model.score(images[:5], samples=1, seed=3), scores[1][:5])


def test_batch_moves_to_a_device():
    batch = Batch(torch.zeros(2, 8, 8, 1, dtype=torch.uint8), torch.tensor([0, 1]))
    assert len(batch.to("cpu")) == 2


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_importance_weighted_loss_weighs_the_kl_by_beta(beta):
    """-log of the mean over samples of p(x|z) (p(z) / q(z|x))^beta (Burda 2015, eq. 8)."""
    options = {"likelihood": "bernoulli", "binarize": "static"}
    model = tiny(beta=beta, iw_samples=4, **options)
    images = blobs(3)
    torch.manual_seed(2)
    total = model.loss(images.batch(np.arange(3))).total.item()
    x = model.observe(images.batch(np.arange(3)))
    torch.manual_seed(2)
    noise = torch.randn(3, 4, model.latent_dim)
    mean, logvar = model.posterior(x)
    expected = 0.0
    for i in range(3):
        weights = []
        for k in range(4):
            q = torch.distributions.Normal(mean[i], (logvar[i] / 2).exp())
            z = mean[i] + (logvar[i] / 2).exp() * noise[i, k]
            p = torch.distributions.Bernoulli(logits=model.decode_params(z[None])[0])
            prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
            weights.append(p.log_prob(x[i]).sum() + beta * (prior - q.log_prob(z).sum()))
        expected -= (torch.stack(weights).logsumexp(0).item() - np.log(4)) / 3
    assert total == pytest.approx(expected, rel=1e-4)
