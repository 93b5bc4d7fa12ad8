"""Features of a label-conditional model: a probe must not find in them what it is to predict."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import pinxit
from pinxit.errors import UsageError
from pinxit.reports.run_list import _score
from pinxit.runs import Run
from tests.builders import blobs, build_vae, make_run


def test_features_do_not_depend_on_labels():
    model, images = build_vae(condition="label"), blobs()
    other = dataclasses.replace(images, labels=(images.labels + 1) % 4)
    assert not np.array_equal(model.encode(images).mean, model.encode(other).mean)
    assert np.array_equal(model.embed(images), model.embed(other))
    plain = build_vae()
    assert np.array_equal(plain.embed(images), plain.encode(images).mean)


def test_a_linear_network_takes_no_labels():
    with pytest.raises(UsageError, match="linear takes no labels"):
        pinxit.VAE(network="linear", condition="label")


def test_one_importance_sample_has_no_error_of_sampling(tmp_path):
    run = make_run(tmp_path / "run", blobs(), steps=5)
    options = {"distances": False, "probe_train_size": 0, "quiet": True}
    record = pinxit.evaluate(run, blobs(), iw_samples=1, **options)
    assert record["protocol"]["importance_sampling"]["sampling_error"] is None
    text = (run.path / "evaluation.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ({"iw_gain": 0.1, "log_likelihood:label": -7.0, "png_bits": 3.0}, "log_likelihood:label"),
        ({"png_bits": 3.0, "elbo:label": -9.0, "elbo:label_error": 0.1}, "elbo:label"),
        ({"png_bits": 3.0}, None),
    ],
)
def test_a_run_is_listed_by_a_figure_of_its_model(tmp_path, metrics, name):
    run = Run(tmp_path)
    run.write("evaluation.json", {"metrics": metrics})
    assert _score(run, {})[:2] == (name, metrics.get(name))
