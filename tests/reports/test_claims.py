"""What a report says of prior, posterior and pixels is so for each configuration of the VAE."""

from __future__ import annotations

import pytest

import pinxit
from pinxit.models.vae import Config
from pinxit.sampling.elbo import elbo_terms
from tests.builders import blobs, save_npz
from tests.reports.html_page import HtmlPage

SMALL = {"latent_dim": 4, "width": 16, "depth": 1}
CONFIGS = {
    "plain": Config(**SMALL),
    "flow": Config(**SMALL, prior="flow"),
    "vamp": Config(**SMALL, prior="vamp", pseudo_inputs=4),
    "iaf": Config(**SMALL, posterior="iaf"),
    "iaf and flow": Config(**SMALL, posterior="iaf", prior="flow"),
    "sphere": Config(**SMALL, posterior="vmf"),
    "point": Config(**SMALL, posterior="deterministic"),
    "head": Config(**SMALL, likelihood="bernoulli", decoder_head="linear"),
    "bernoulli": Config(**SMALL, likelihood="bernoulli"),
    "8-bit": Config(**SMALL, likelihood="discretized-logistic"),
    "ladder": Config(**SMALL, levels=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_a_report_claims_only_what_the_run_is(name, tmp_path):
    config, data = CONFIGS[name], save_npz(tmp_path / "blobs.npz", blobs(80))
    run = pinxit.train(config, data, out=tmp_path / "run", steps=4, batch_size=16, quiet=True)
    page = HtmlPage(pinxit.report(run.path))
    text = page.text
    assert ("prior is learned" in text) == (config.prior != "standard")
    assert ("on a sphere" in text) == (config.posterior == "vmf")
    assert ("z = f(u)" in text) == (config.prior != "standard")
    has_head = config.decoder_head != "independent"
    assert ("one pixel after another" in text) == has_head
    assert ("Each is the mean of p(x|z)" in text) != has_head
    is_gaussian = config.posterior in ("gaussian", "deterministic") and not config.levels
    if "The encoder outputs a distribution" in text:
        assert ("q(z|x) = N(μ, σ²), not one z" in text) == is_gaussian
    likelihood, has_overview = run.config["model"]["likelihood"], 'id="slide-overview"' in page.html
    exact, bound = "The first is minus the log", "The first is an upper bound of minus the log"
    assert (exact in text) == (has_overview and likelihood != "gaussian")
    assert (bound in text) == (has_overview and likelihood == "gaussian")
    assert elbo_terms(run.load(), blobs(80)).distortion.mean() >= 0
    targets = {fields["id"] for _, fields in page.elements if fields.get("id")}
    links = {fields["href"] for tag, fields in page.elements if tag == "a" and fields.get("href")}
    inside = {link[1:] for link in links if link.startswith("#")}
    assert inside <= targets, "links that lead nowhere"
    assert ("pinxit explain" in text) != bool(config.levels)  # which does not take a ladder
