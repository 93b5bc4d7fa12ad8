"""The validation images that choose the weights stand for all, also of a source sorted by label."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import pinxit
from pinxit.data.load_options import LoadOptions
from pinxit.training import session as session_module
from pinxit.training.api import resume
from pinxit.training.devices import set_up_fabric
from pinxit.training.loop import create_train_state
from pinxit.training.prepare import TrainingData, prepare_training
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs
from tests.training.test_session import train_tiny


def label_sorted_blobs(n=600):
    images = blobs(n)
    images = images.take(np.argsort(images.labels, kind="stable"))
    splits = (np.arange(n) % 2).astype(np.int8)
    return dataclasses.replace(images, splits=splits, fingerprint="sorted")


def test_validation_and_previews_have_every_label(tmp_path, monkeypatch):
    images, seen = label_sorted_blobs(), []
    validate, save_previews = session_module.validate, session_module.save_previews

    def record_rows(state, images, rows, *rest):
        seen.append(rows)
        return validate(state, images, rows, *rest)

    def record_previews(model, run, step, examples):
        previews.append(examples)
        save_previews(model, run, step, examples)

    previews = []
    monkeypatch.setattr(session_module, "MAX_VALIDATION_IMAGES", 200)
    monkeypatch.setattr(session_module, "validate", record_rows)
    monkeypatch.setattr(session_module, "save_previews", record_previews)
    train_tiny(tmp_path / "run", images, steps=4, num_evals=2)
    resume(tmp_path / "run", images, steps=8, quiet=True)

    shares = np.bincount(images.labels) / len(images)
    for rows in seen:
        assert len(rows) == 200
        assert (images.splits[rows] == 1).all()
        assert abs(np.bincount(images.labels[rows]) / 200 - shares).max() < 0.02
        assert (rows == seen[0]).all(), "also after resuming"
    assert len(seen) >= 3
    for examples in previews:
        assert len(examples) == session_module.NUM_PREVIEW_IMAGES
        assert set(examples.labels) == {0, 1, 2, 3}


def test_all_of_few_validation_images_are_used(tmp_path, monkeypatch):
    seen = []
    validate = session_module.validate

    def record_rows(state, images, rows, *rest):
        seen.append(rows)
        return validate(state, images, rows, *rest)

    monkeypatch.setattr(session_module, "validate", record_rows)
    images = label_sorted_blobs(300)
    train_tiny(tmp_path / "run", images, steps=2, num_evals=1)
    assert (seen[0] == images.split_indices("validation")).all()


@pytest.mark.parametrize("family", ["vae", "mae", "igpt"])
def test_validation_holds_no_more_images_at_once_than_a_step_and_gives_the_same(family):
    configs = {
        "vae": pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1, iw_samples=3),
        "mae": pinxit.MAE(width=16, depth=1, heads=1, decoder_width=16, decoder_depth=1),
        "igpt": pinxit.IGPT(width=16, depth=1, heads=1, palette_size=4),
    }
    images = label_sorted_blobs(60)
    settings = TrainingSettings(steps=1, batch_size=20, precision="fp32")
    data = TrainingData(images, LoadOptions(), [])
    plan = prepare_training(configs[family], data, settings, quiet=True)
    state = create_train_state(plan.model, plan.settings, set_up_fabric(plan.settings))
    sizes, results = [], []
    original = type(plan.model).loss
    state.module.loss = lambda batch, progress: (
        sizes.append(len(batch)), original(plan.model, batch, progress)
    )[1]  # fmt: skip
    for accumulate in (1, 3, 7, 50):
        sizes.clear()
        rows = images.split_indices("validation")
        results.append(session_module.validate(state, images, rows, 20, 0, accumulate))
        assert max(sizes) == math.ceil(20 / accumulate)
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-5)
