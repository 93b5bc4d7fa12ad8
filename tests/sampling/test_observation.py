"""The binarized test set: a function of the seed and each image's name, for every family."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import Images
from pinxit.models import igpt
from pinxit.nn.image_seeds import Draw, draw_uniforms, image_seeds
from pinxit.sampling.elbo import elbo_terms, iter_likelihood_batches
from pinxit.sampling.observation import comparable_images, is_black_and_white, observe_images
from tests.builders import blobs, build_vae

SMALL = {"depth": 1, "width": 16, "heads": 2, "patch_size": 2}


def build_igpt(binarize: str = "dynamic"):
    torch.manual_seed(0)
    config = igpt.Config(binarize=binarize, palette="binary", **SMALL).resolve(blobs().info())
    return igpt.build(config, blobs().info()).eval()


@pytest.fixture(scope="module")
def models():
    vaes = [build_vae(likelihood="bernoulli", binarize=kind) for kind in ("dynamic", "static")]
    return {
        "vae": vaes[0].eval(),
        "static vae": vaes[1].eval(),
        "igpt": build_igpt(),
        "static igpt": build_igpt("static"),
    }


rows = st.lists(st.integers(0, 95), min_size=1, max_size=12)


@settings(deadline=None, max_examples=25)
@given(rows=rows, seed=st.integers(0, 2**40))
def test_images_are_binarized_alike_in_every_subset_and_family(models, rows, seed):
    images = blobs()
    everything = observe_images(models["vae"], images, seed)
    subset = observe_images(models["igpt"], images.take(np.array(rows)), seed)
    assert set(np.unique(everything.pixels)) <= {0, 255}
    assert np.array_equal(subset.pixels, everything.pixels[rows])
    assert list(subset.names) == [images.names[i] for i in rows]
    static = [observe_images(models[f"static {name}"], images, seed) for name in ("vae", "igpt")]
    assert np.array_equal(static[0].pixels, np.where(images.pixels > 127, 255, 0))
    assert np.array_equal(static[0].pixels, static[1].pixels)


@settings(deadline=None, max_examples=10)
@given(rows=rows, seed=st.integers(0, 2**40))
def test_likelihoods_are_of_the_observe_images(models, rows, seed):
    images = blobs().take(np.array(rows))
    (batch,) = iter_likelihood_batches(models["vae"], images, seed)
    expected = observe_images(models["vae"], images, seed).pixels / 255
    assert np.array_equal(batch.x.permute(0, 2, 3, 1).numpy(), expected)
    observed = observe_images(models["igpt"], images, seed)
    scores = models["igpt"].score(images, seed=seed)
    assert np.allclose(scores, models["static igpt"].score(observed), atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(rows=rows, kind=st.sampled_from(["bernoulli", "gaussian", "discretized-logistic"]))
def test_terms_and_scores_of_an_image_do_not_depend_on_the_other_images(rows, kind):
    model, images = build_vae(likelihood=kind).eval(), blobs()
    subset = images.take(np.array(rows))
    everything, part = elbo_terms(model, images, 7), elbo_terms(model, subset, 7)
    assert np.allclose(part.elbo, everything.elbo[rows], atol=1e-3)
    for samples in (1, 5):
        scores = model.score(images, samples=samples, seed=7)
        assert np.allclose(model.score(subset, samples=samples, seed=7), scores[rows], atol=1e-3)


def test_seeds_depend_on_seed_draw_and_name():
    images = blobs(20)
    seeds = {(seed, draw): image_seeds(images, seed, draw) for seed in (0, 1) for draw in Draw}
    assert len({s for row in seeds.values() for s in row}) == 20 * len(seeds)
    odd = dataclasses.replace(images, names=[f"\ud800{i}\udcff" for i in range(20)])
    assert len(set(image_seeds(odd, 0, Draw.ELBO))) == 20
    unnamed = Images(images.pixels)
    assert image_seeds(unnamed[3:5], 0, Draw.ELBO) == image_seeds(unnamed, 0, Draw.ELBO)[3:5]


def test_models_of_grey_levels_observe_images_unchanged():
    images = blobs()
    for kind in ("gaussian", "discretized-logistic"):
        observed = observe_images(build_vae(likelihood=kind), images)
        assert np.array_equal(observed.pixels, images.pixels)
    assert observe_images(object(), images) is images


class DynamicModel:
    """A fake model that samples pixels by their grey values."""

    def binarize(self, pixels, seeds):
        uniforms = draw_uniforms(pixels.shape, seeds)
        return (uniforms * 255 < pixels).to(torch.uint8) * 255


class StaticModel:
    """A fake model that thresholds pixels."""

    def binarize(self, pixels, seeds):
        return (pixels > 127).to(torch.uint8) * 255


def test_samples_are_compared_with_what_they_are_like():
    """Black-and-white ones with observed images, decoded means with the mean of these."""
    images = blobs(30)
    means = blobs(30, seed=1)
    for model in (DynamicModel(), StaticModel()):
        observed = observe_images(model, images)
        assert is_black_and_white(observed)
        samples = observe_images(model, means)
        assert np.array_equal(comparable_images(model, images, samples).pixels, observed.pixels)
    assert comparable_images(DynamicModel(), images, means) is images
    thresholded = observe_images(StaticModel(), images)
    assert np.array_equal(
        comparable_images(StaticModel(), images, means).pixels, thresholded.pixels
    )
    assert comparable_images(object(), images, means) is images
