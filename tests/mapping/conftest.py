"""A run and its images, for the tests of `pinxit map`."""

from __future__ import annotations

from pathlib import Path

import pytest

import pinxit
from pinxit.runs import Run
from tests.builders import blobs, make_run, save_npz


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """A data file of 120 images with labels and splits, and the runs of two VAEs."""
    folder = tmp_path_factory.mktemp("folder")
    file = save_npz(folder / "blobs.npz", blobs(120))
    loaded = pinxit.load_images(file, progress=False)
    make_run(folder / "run", loaded, steps=5)
    make_run(folder / "other", loaded, steps=6)
    return folder


@pytest.fixture
def run(run_folder) -> Run:
    return Run(run_folder / "run")


@pytest.fixture
def data(run_folder) -> tuple[str]:
    return (str(run_folder / "blobs.npz"),)
