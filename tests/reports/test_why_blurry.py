"""The measurements of the section "Why is it blurry?" and its remedies."""

from __future__ import annotations

import numpy as np
import pytest

from pinxit.reports.context import ReportContext, load_context
from pinxit.reports.remedies import find_remedies
from pinxit.reports.why_blurry import EncodedImages, decode_posterior_samples, decompose_error
from pinxit.training.verdict import Verdict
from tests.builders import blobs, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> ReportContext:
    images = blobs(n=64)
    run = make_run(tmp_path_factory.mktemp("blurry"), images, steps=80)
    return load_context(run, images)


@pytest.fixture(scope="module")
def inputs(context) -> EncodedImages:
    encoded = EncodedImages.from_context(context)
    assert encoded is not None
    return encoded


def test_squared_bias_and_variance_add_up_to_the_squared_error(inputs):
    error = decompose_error(inputs, max_images=48)
    assert error.rmse**2 == pytest.approx(error.bias**2 + error.std**2)
    rows = np.arange(len(inputs.images))
    decoded = decode_posterior_samples(inputs, rows, 100, seed=7).astype(np.float64)
    mse = np.square(decoded - inputs.images.pixels[:, None]).mean()
    assert error.rmse == pytest.approx(np.sqrt(mse), rel=0.05)
    mean = decoded.mean(1, keepdims=True)
    assert error.std == pytest.approx(np.sqrt(np.square(decoded - mean).mean()), rel=0.1)
    assert error.bias > 1
    assert error.std > 0.1


def test_decoded_posterior_samples_vary_around_their_own_reconstruction(inputs):
    decoded = decode_posterior_samples(inputs, np.array([0, 1]), 50, seed=0).astype(float)
    assert decoded.std(1).max() > 1
    reconstructions = inputs.reconstructions.pixels
    same = np.square(decoded.mean(1) - reconstructions[:2]).mean()
    other = np.square(decoded.mean(1) - reconstructions[1::-1]).mean()
    assert same < other / 2


def test_encoded_images_need_weights_and_data(context):
    assert EncodedImages.from_context(ReportContext(context.run)) is None
    assert EncodedImages.from_context(ReportContext(context.run, context.model)) is None


def test_remedies_are_options_of_the_family_and_cite_the_run(context):
    assert context.verdict.state == "too few images"
    assert find_remedies(context)[0].text == "more images"
    context.verdict = Verdict("good", ())  # as if there were enough
    remedies = {remedy.key: remedy for remedy in find_remedies(context)}
    assert remedies["beta"].promising
    assert "of 4 latents are active" in " ".join(r.evidence for r in remedies.values())
    options = set(vars(context.model.config))
    assert {name for r in remedies.values() for name in r.changes or {}} <= options


@pytest.mark.parametrize(("beta", "lowers_elbo"), [(1.0, True), (4.0, False)])
def test_halving_beta_lowers_the_elbo_only_below_one(tmp_path, beta, lowers_elbo):
    images = blobs(n=64)
    context = load_context(make_run(tmp_path, images, steps=5, beta=beta), images)
    effects = {remedy.text: remedy.effect for remedy in find_remedies(context)}
    assert ("lower ELBO" in effects[f"--beta {beta / 2:g}"]) == lowers_elbo
