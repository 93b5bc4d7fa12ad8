"""Each option of docs/remedies.md through the commands: dry run, evaluate, explain, report."""

from __future__ import annotations

import numpy as np
import pytest

import pinxit
from pinxit.reports import report
from pinxit.sampling.fitted_priors import encode_for_fitting, fit_prior, sample_from_density
from pinxit.sampling.latents import interpolate_images, traverse
from tests.builders import blobs, shorten_explanations
from tests.models.test_remedies_page import ROWS, SIZE, read_options
from tests.reports.html_page import HtmlPage

QUICK = ("--posterior iaf", "--posterior vmf", "--likelihood gaussian --variance per-pixel")
OPTIONS = list(dict.fromkeys(ROWS))


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Few steps and few images wherever something is fitted."""
    patch = pytest.MonkeyPatch()
    shorten_explanations(patch, FLOW_STEPS=3, COMPONENTS=(1,), NUM_QUERIES=5)
    yield
    patch.undo()


def test_the_quick_rows_are_on_the_page():
    assert set(QUICK) <= set(OPTIONS)


def train(row, folder, images):
    config = pinxit.VAE(**SIZE, **read_options(row))
    settings = {"batch_size": 16, "quiet": True, "steps": 12}
    return config, settings, pinxit.train(config, images, out=folder, **settings)


def use(model, images):
    """All that a user does with a model."""
    assert len(model.sample(2, seed=1)) == 2
    assert len(model.reconstruct(images[:3])) == 3
    posterior = encode_for_fitting(model, images)
    assert len(sample_from_density(model, fit_prior("mixture", posterior, posterior), 2)) == 2
    assert len(interpolate_images(model, images[:2], 3)) == 3
    assert len(traverse(model, images, num_latents=2, steps=3).images) == 6


@pytest.mark.parametrize("row", QUICK)
def test_a_few_rows_are_evaluated(row, tmp_path):
    images = blobs(64)
    _, _, run = train(row, tmp_path / "run", images)
    options = {"iw_samples": 20, "likelihood_images": 5, "distances": False, "probe_train_size": 0}
    record = run.evaluate(images, quiet=True, **options)
    assert np.isfinite([v for v in record["metrics"].values() if v is not None]).all()
    assert "mutual_information" in record["metrics"]
    use(run.load(), images)


@pytest.mark.long
@pytest.mark.parametrize("row", OPTIONS)
def test_a_row_goes_through_all_commands(row, tmp_path):
    images = blobs(120)
    config, settings, run = train(row, tmp_path / "run", images)
    assert pinxit.train(config, images, dry_run=True, **settings).num_parameters > 0
    record = run.evaluate(images, iw_samples=20, likelihood_images=10, quiet=True)
    assert np.isfinite([v for v in record["metrics"].values() if v is not None]).all()
    explained = pinxit.explain(run, images, progress=False)
    assert np.isfinite([v for v in explained["metrics"].values() if v is not None]).all()
    assert explained["causes"]
    assert explained["remedies"]
    page = HtmlPage(run.path / "explain.html")
    assert page.markup_errors == []
    assert page.unclosed == []
    page = HtmlPage(report(run, images=images))
    assert "why_blurry" in page.sections
    assert "nan" not in page.text.lower().split()
    use(run.load(), images)
