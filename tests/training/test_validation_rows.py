"""The validation images that choose the weights stand for all, also of a source sorted by label."""

from __future__ import annotations

import dataclasses

import numpy as np

from pinxit.training import session as session_module
from pinxit.training.api import resume
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
