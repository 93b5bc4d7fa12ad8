"""What all tests share: tiny models run several times faster with one torch thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinxit.data.batch import DatasetInfo
from tests.builders import blobs

# before any process of a test imports torch
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image sets; skips where PINXIT_DATA does not name one."""
    folder = os.environ.get("PINXIT_DATA")
    if not folder:
        pytest.skip("PINXIT_DATA is not set: the real image sets are not here")
    path = Path(folder).resolve()
    if not (path / "mnist").is_dir():
        pytest.skip(f"PINXIT_DATA names a folder without mnist/: {path}")
    return path


@pytest.fixture
def info() -> DatasetInfo:
    return blobs().info()
