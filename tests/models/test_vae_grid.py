"""VAEs whose latents are a grid: sizes, the ELBO written out, channels, directions."""

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
from pinxit.models.vae.equivariance import list_transforms
from pinxit.sampling.elbo import elbo_terms
from pinxit.sampling.latents import interpolate_images, latent_activity, traverse
from tests.builders import blobs, noise_images

SMALL = {"latents": "grid", "width": 8, "depth": 1}


def info_of(height: int, width: int, channels: int = 3, num_images: int = 50) -> DatasetInfo:
    return DatasetInfo(num_images, height, width, channels)


def tiny(height: int = 16, width: int = 16, channels: int = 3, **options):
    torch.manual_seed(0)
    model = build(Config(**{**SMALL, **options}), info_of(height, width, channels))
    with torch.no_grad():  # so that the latents matter without training
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    height=st.integers(16, 96),
    width=st.integers(16, 96),
    channels=st.sampled_from([1, 3]),
    downscale=st.sampled_from([None, 2, 4, 8, 16]),
)
def test_images_of_any_size_are_encoded_and_decoded(height, width, channels, downscale):
    model = tiny(height, width, channels, downscale=downscale)
    images = noise_images(2, height, width, channels)
    posterior = model.encode(images)
    side = model.config.downscale
    grid = (model.config.latent_channels, math.ceil(height / side), math.ceil(width / side))
    assert posterior.mean.shape == posterior.std.shape == (2, *grid) == (2, *model.latent_shape)
    assert model.decode(posterior.mean).pixels.shape == images.pixels.shape
    flat = model.decode(posterior.mean.reshape(2, -1))
    assert np.array_equal(flat.pixels, model.reconstruct(images).pixels)
    assert model.embed(images).shape == (2, model.latent_dim)


def test_the_elbo_is_that_of_independent_gaussians_at_each_position():
    model, images = tiny(), noise_images(5, 16, 16, 3)
    x = model.observe(Batch(torch.from_numpy(images.pixels)))
    torch.manual_seed(1)
    with torch.no_grad():
        elbo = model.elbo(x, None)
        mean, logvar = model.posterior(x)
        q = torch.distributions.Normal(mean, (logvar / 2).exp())
        prior = torch.distributions.Normal(0.0, 1.0)
        expected = torch.distributions.kl_divergence(q, prior)
        torch.manual_seed(1)
        z = mean + (logvar / 2).exp() * torch.randn_like(mean)
        decoded = model.decoder(z, None) + model.info.mean
        sigma = model.likelihood.sigma
        density = torch.distributions.Normal(decoded, sigma).log_prob(x) - math.log(256)
    assert torch.allclose(elbo.rate, expected, atol=1e-4)
    assert torch.allclose(elbo.distortion, -density.flatten(1).sum(1), rtol=1e-4)


def test_importance_samples_raise_the_bound():
    model, images = tiny(), noise_images(6, 16, 16, 3)
    single = np.mean([model.score(images, seed=seed).mean() for seed in range(20)])
    assert model.score(images, samples=64).mean() > single


def test_latents_are_read_from_their_place():
    """A change in a corner of the image changes latents near that corner only."""
    model, images = tiny(64, 64, downscale=8), noise_images(1, 64, 64, 3)
    changed = images.pixels.copy()
    changed[:, :8, :8] = 255 - changed[:, :8, :8]
    a, b = model.encode(images).mean, model.encode(Images(changed)).mean
    moved = np.abs(a - b).max(1)[0] > 1e-2 * np.abs(a).std()
    assert moved[0, 0]
    # group norm sees the whole image, so that the others move a little
    far = np.abs(a - b).max(1)[0][-2:, -2:].max()
    assert far < 0.2 * np.abs(a - b).max()


def test_the_kl_of_channels_adds_up():
    model, images = tiny(), noise_images(20, 16, 16, 3)
    activity = latent_activity(model, images)
    assert activity.num_channels == model.latent_shape[0]
    assert activity.unit == "channel"
    assert len(activity.variance) == len(activity.active) == activity.num_channels
    assert activity.image_rate.shape == (20, activity.num_channels)
    assert activity.rate.sum() == pytest.approx(activity.total_rate, rel=1e-4)
    terms = elbo_terms(model, images)
    assert activity.total_rate == pytest.approx(terms.rate.sum(1).mean(), rel=1e-4)


def test_a_traversal_moves_a_channel_or_a_direction():
    model, images = tiny(), noise_images(20, 16, 16, 3)
    channels = traverse(model, images, 3, steps=5, along="latents")
    assert channels.unit == "channel"
    assert set(channels.latents) <= set(range(model.latent_shape[0]))
    directions = traverse(model, images, 4, steps=5)
    assert directions.unit == "direction"
    assert len(directions.images) == 4 * 5
    assert directions.variance == sorted(directions.variance, reverse=True)
    # the middle of each row is the image that it starts from
    middle = directions.images.pixels.reshape(4, 5, 16, 16, 3)[:, 2].astype(int)
    assert np.abs(middle - middle[0]).max() <= 1
    with pytest.raises(UsageError, match="19 principal directions"):
        traverse(model, images, 20)


def test_interpolation_runs_from_image_to_image():
    model, images = tiny(), noise_images(2, 16, 16, 3)
    path = interpolate_images(model, images, 5)
    ends = model.reconstruct(images).pixels.astype(int)
    assert np.abs(path.pixels[[0, -1]].astype(int) - ends).max() <= 1


@pytest.mark.parametrize(
    ("size", "options", "latents"),
    [
        ((32, 32, 3), {}, "grid"),
        ((31, 40, 3), {}, "vector"),
        ((48, 48, 1), {}, "grid"),
        ((40, 48, 1), {}, "vector"),
        ((64, 64, 3), {"latent_dim": 20}, "vector"),
        ((64, 64, 3), {"network": "mlp"}, "vector"),
        ((64, 64, 3), {"prior": "flow"}, "vector"),
        ((16, 16, 3), {"downscale": 4}, "grid"),
    ],
)
def test_the_latents_are_chosen_from_the_images(size, options, latents):
    config = Config(**options).resolve(info_of(*size))
    assert config.latents == latents
    assert config == config.resolve(info_of(*size)), "a resolved configuration is complete"


def test_downscale_and_channels_follow_the_size():
    found = {}
    for side in (16, 32, 48, 64, 128, 256):
        config = Config(latents="grid").resolve(info_of(side, side))
        found[side] = (config.downscale, config.latent_channels)
    assert found == {
        16: (2, 4),
        32: (4, 4),
        48: (4, 4),
        64: (8, 16),
        128: (16, 32),
        256: (16, 32),
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"latents": "grid", "latent_dim": 8}, "latent_channels"),
        ({"latents": "grid", "network": "mlp"}, "network conv"),
        ({"latents": "grid", "prior": "flow"}, "prior flow"),
        ({"latents": "vector", "downscale": 4}, "downscale is of a grid"),
        ({"downscale": 3}, "power of two"),
        ({"downscale": 1}, "power of two"),
        ({"latent_channels": 0}, "at least 1"),
    ],
)
def test_options_that_do_not_go_together_raise(options, reason):
    with pytest.raises(UsageError, match=reason):
        Config(**options)


def test_a_downscale_beyond_the_image_is_named():
    with pytest.raises(UsageError, match="larger than these images of 16 x 20"):
        Config(downscale=32).resolve(info_of(16, 20))


def test_labels_condition_a_grid():
    images = blobs(40, 32, 32, 3)
    torch.manual_seed(0)
    model = build(Config(**SMALL, condition="label"), images.info()).eval()
    names = model.info.label_names
    torch.nn.init.normal_(model.decoder.label_embed.embedding.weight)
    first, second = (model.sample(2, label=name).pixels for name in names[:2])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(("side", "count"), [(16, 8), (18, 5)])
def test_transforms_keep_grid_and_image_aligned(side, count):
    """Latents that are a position's mean pixel turn, flip and shrink as the image does."""
    model = tiny(side, side)
    transforms = list_transforms(model.latent_shape, (side, side))
    assert len(transforms) == count, "a grid with an odd side cannot be halved"
    x = torch.rand(2, 3, side, side)
    fold = model.config.downscale

    def means(image):
        return torch.nn.functional.avg_pool2d(image, fold)

    for transform in transforms:
        moved, expected = transform.apply(means(x)), means(transform.apply(x))
        assert moved.shape[-1] / means(x).shape[-1] == transform.area**0.5
        assert torch.allclose(moved, expected, atol=1e-6)


def test_equivariance_and_l1_enter_the_loss_and_halved_images_count_in_full():
    torch.manual_seed(0)
    batch = Batch(torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8))
    plain, moved, l1 = (
        tiny(**{"l1_weight": 0.0, **options}).train()
        for options in ({}, {"equivariance": 0.5}, {"l1_weight": 2.0})
    )
    for model in (moved, l1):
        model.load_state_dict(plain.state_dict())
    losses = {}
    for name, model in {"plain": plain, "moved": moved, "l1": l1}.items():
        torch.manual_seed(1)
        losses[name] = model.loss(batch).total.item()
    assert losses["moved"] == pytest.approx(losses["plain"], rel=0.5)
    assert losses["moved"] != losses["plain"]
    twice = tiny(l1_weight=4.0).train()
    twice.load_state_dict(plain.state_dict())
    torch.manual_seed(1)
    more = twice.loss(batch).total.item() - losses["plain"]
    assert more == pytest.approx(2 * (losses["l1"] - losses["plain"]), rel=1e-3)
    assert more > 0
    moved.eval()
    torch.manual_seed(1)
    without = moved.loss(batch).total.item()
    torch.manual_seed(1)
    assert without == pytest.approx(plain.eval().loss(batch).total.item())
