"""What all tests share: tiny models run several times faster with one torch thread."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pinxit.data.batch import Facts
from pinxit.data.images import Images

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


def blobs(n: int = 96, height: int = 8, width: int = 8, channels: int = 1, seed: int = 0):
    """Images of one soft blob each, with its quadrant as label: easy to learn, hard to guess.

    The captions say the quadrant in English and French; the image before is the mirror image.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    cy = random.uniform(0.1, 0.9, (n, 1, 1)) * height
    cx = random.uniform(0.1, 0.9, (n, 1, 1)) * width
    spread = (min(height, width) / 4) ** 2
    grey = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / spread)
    tint = random.uniform(0.4, 1, (n, 1, 1, channels))
    pixels = (255 * grey[..., None] * tint).astype(np.uint8)
    labels = (2 * (cy[:, 0, 0] > height / 2) + (cx[:, 0, 0] > width / 2)).astype(np.int64)
    splits = np.zeros(n, np.int8)
    splits[n // 2 : 3 * n // 4], splits[3 * n // 4 :] = 1, 2
    english = ("top left", "top right", "bottom left", "bottom right")
    french = ("en haut à gauche", "en haut à droite", "en bas à gauche", "en bas à droite")
    return Images(
        pixels,
        captions={
            "en": [f"a blob at the {english[i]}" for i in labels],
            "fr": [f"une tache {french[i]}" for i in labels],
        },
        before=np.ascontiguousarray(pixels[:, :, ::-1]),
        names=[f"blob-{i:03d}" for i in range(n)],
        labels=labels,
        label_names=("north-west", "north-east", "south-west", "south-east"),
        splits=splits,
        source="blobs",
        fingerprint="blobs",
    )


@pytest.fixture
def facts() -> Facts:
    return blobs().facts()


# -- a server, for the tests of tests/serve -------------------------------------------------------


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    from served import make_runs

    return make_runs(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def base(runs, tmp_path_factory):
    """The address of a server of all the runs."""
    from served import serving

    with serving(runs.values(), tmp_path_factory.mktemp("store") / "serve.sqlite") as address:
        yield address


@pytest.fixture(scope="session")
def client(base):
    from served import client as client_of

    return client_of(base)
