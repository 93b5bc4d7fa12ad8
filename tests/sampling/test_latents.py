"""Ways through the latent space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pinxit.errors import UsageError
from pinxit.models import get_family
from pinxit.models.results import Posterior
from pinxit.sampling import label_matched as draws
from pinxit.sampling import latents
from pinxit.sampling.inputs import labels_for, match_labels, select_test_split
from tests.builders import blobs

VAE = get_family("vae")


def tiny(**options):
    torch.manual_seed(0)
    config = VAE.Config(latent_dim=5, network="mlp", width=16, depth=1, **options)
    model = VAE.build(config, blobs().info())
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return tiny()


vectors = arrays(np.float32, 4, elements=st.floats(-10, 10, width=32))


@given(vectors, vectors, st.sampled_from(["spherical", "linear"]))
def test_a_way_begins_and_ends_where_it_should(a, b, path):
    z = latents.interpolate(a, b, 7, path)
    assert z.shape == (7, 4)
    assert z.dtype == np.float32
    assert np.allclose(z[0], a, atol=1e-4)
    assert np.allclose(z[-1], b, atol=1e-4)
    assert np.isfinite(z).all()


def test_a_spherical_way_keeps_length_and_turns_evenly():
    a, b = np.array([3.0, 0, 0]), np.array([0, 3.0, 0])
    z = latents.interpolate(a, b, 4, "spherical")
    angles = np.deg2rad([0, 30, 60, 90])
    expected = 3 * np.stack([np.cos(angles), np.sin(angles), np.zeros(4)], 1)
    assert np.allclose(z, expected, atol=1e-6)
    assert np.allclose(latents.interpolate(a, b, 3, "linear")[1], [1.5, 1.5, 0])


def test_opposite_and_zero_latents_have_a_way_too():
    a = np.array([1.0, 0.0])
    assert np.isfinite(latents.interpolate(a, -a, 5)).all()
    assert np.allclose(latents.interpolate(np.zeros(2), a, 3)[1], [0.5, 0])


def test_fewer_than_two_steps_are_refused():
    with pytest.raises(UsageError, match="at least 2 steps"):
        latents.interpolate(np.zeros(2), np.ones(2), 1)


def test_between_images_begins_and_ends_at_their_reconstructions(model):
    pair = blobs()[3:5]
    made = latents.interpolate_images(model, pair, 6)
    expected = model.reconstruct(pair)
    assert np.array_equal(made.pixels[[0, -1]], expected.pixels)
    with pytest.raises(UsageError, match="not 1"):
        latents.interpolate_images(model, pair[:1], 6)


@pytest.mark.parametrize("prior", ["standard", "flow"])
def test_between_seeds_begins_and_ends_at_their_samples(prior):
    model = tiny(prior=prior)
    made = latents.interpolate_seeds(model, (3, 8), 5)
    assert np.array_equal(made.pixels[:1], model.sample(1, seed=3).pixels)
    assert np.array_equal(made.pixels[-1:], model.sample(1, seed=8).pixels)


def test_a_label_changes_halfway():
    model = tiny(condition="label")
    pair = blobs()[[0, 1]]
    made = latents.interpolate_images(model, pair, 4)
    z = latents.interpolate(*model.encode(pair).mean, 4)
    expected = model.decode(z, pair.labels[[0, 0, 1, 1]])
    assert np.array_equal(made.pixels, expected.pixels)


def test_kl_in_closed_form_is_torchs():
    random = np.random.default_rng(0)
    posterior = Posterior(random.normal(size=(9, 4)), random.uniform(0.1, 2, (9, 4)))
    q = torch.distributions.Normal(*map(torch.from_numpy, posterior))
    p = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(q, p).numpy()
    assert np.allclose(latents.gaussian_kl(posterior), expected)


def test_a_models_own_kl_is_that_of_its_posterior(model):
    images = blobs()
    own = latents.latent_activity(model, images)
    posterior = model.encode(images)
    assert np.allclose(own.variance, posterior.mean.var(0))
    # the model's own sees dequantized images: a little noise apart
    assert np.allclose(own.rate, latents.gaussian_kl(posterior).mean(0), rtol=0.05, atol=1e-3)
    assert sorted(own.order) == list(range(5))
    assert (np.diff(own.rate[own.order]) <= 0).all()


def test_traversal_moves_one_latent_at_a_time_the_most_active_first(model):
    images = blobs()
    found = latents.traverse(model, images, 3, start=images[4], steps=7)
    rates = latents.latent_activity(model, images).rate
    assert found.latents == np.argsort(-rates)[:3].tolist()
    assert len(found.images) == 21
    z = np.repeat(model.encode(images[4]).mean, 7, 0)
    z[:, found.latents[1]] = np.linspace(-3, 3, 7)
    assert np.array_equal(found.images.pixels[7:14], model.decode(z).pixels)


@pytest.mark.parametrize("number", [0, 6])
def test_more_latents_than_there_are_are_refused(model, number):
    with pytest.raises(UsageError, match="has 5 latents"):
        latents.traverse(model, blobs(), number)


def test_parts_are_whole_and_in_proportion():
    assert draws.largest_remainder(np.array([1, 1, 1]), 4).tolist() == [2, 1, 1]
    assert draws.largest_remainder(np.array([90, 10, 0]), 10).tolist() == [9, 1, 0]


def test_samples_have_the_labels_of_the_data(monkeypatch):
    model = tiny(condition="label")
    images = blobs()
    asked = {}
    own = model.sample

    def sample(n, *, seed, label):
        asked[label] = n, seed
        return own(n, seed=seed, label=label)

    monkeypatch.setattr(model, "sample", sample)
    made = draws.sample_with_label_frequencies(model, images, 40)
    assert len(made) == 40
    share = np.bincount(images.labels, minlength=4) / len(images)
    for name, expected in zip(images.label_names, share, strict=True):
        assert abs(asked[name][0] / 40 - expected) < 1 / 40
    assert len({seed for _, seed in asked.values()}) == len(asked)  # each label its own chance


def test_a_model_without_labels_samples_as_ever(model):
    made = draws.sample_with_label_frequencies(model, blobs(), 5, seed=2)
    assert np.array_equal(made.pixels, model.sample(5, seed=2).pixels)


def test_labels_are_given_to_models_that_see_them_by_name():
    seeing, blind = tiny(condition="label"), tiny()
    images = blobs(8)
    names = (*images.label_names[::-1][:3], "elsewhere")  # reordered, one unknown
    other = images.__class__(
        images.pixels, labels=np.array([0, 1, 2, 3, -1, 0, 1, 2]), label_names=names
    )
    fitted = match_labels(seeing, other)
    assert fitted.labels.tolist() == [3, 2, 1, -1, -1, 3, 2, 1]
    assert labels_for(seeing, fitted) is fitted.labels
    assert labels_for(blind, other) is None
    assert match_labels(blind, other) is other


def test_held_out_images_are_the_test_split_or_said_not_to_be():
    images = blobs(40)
    found, warning = select_test_split(images)
    assert (len(found), warning) == (10, "")
    found, warning = select_test_split(images.split("train"))
    assert len(found) == 20
    assert "no test split" in warning


def test_spread_is_even_and_takes_both_ends():
    names = blobs(96).evenly_spaced(5).names
    assert [names[0], names[-1]] == ["blob-000", "blob-095"]
    assert len(names) == 5
    assert len(blobs(96).evenly_spaced(None)) == 96
