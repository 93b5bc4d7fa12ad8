"""A run and its images, for the tests of `pinxit map`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pinxit
from pinxit.runs import Run
from tests.builders import blobs, make_run


@pytest.fixture(scope="session")
def mapped(tmp_path_factory) -> Path:
    """A data file of 120 images with labels and splits, and the runs of two VAEs."""
    folder = tmp_path_factory.mktemp("mapped")
    images = blobs(120)
    np.savez(
        folder / "blobs.npz",
        images=images.pixels,
        labels=np.array(images.label_names)[images.labels],
        split=np.array(["train", "validation", "test"])[images.splits],
    )
    loaded = pinxit.load_images(folder / "blobs.npz", progress=False)
    make_run(folder / "run", loaded, steps=5)
    make_run(folder / "other", loaded, steps=6)
    return folder


@pytest.fixture
def run(mapped) -> Run:
    return Run(mapped / "run")


@pytest.fixture
def data(mapped) -> tuple[str]:
    return (str(mapped / "blobs.npz"),)
