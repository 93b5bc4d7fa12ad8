"""What all tests share: tiny models run several times faster with one torch thread."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from pinxit.data.batch import DatasetInfo
from tests.builders import blobs

# an example that takes long on a busy machine is no failure
settings.register_profile("pinxit", deadline=None)
settings.load_profile("pinxit")

# before any process of a test imports torch
os.environ.setdefault("OMP_NUM_THREADS", "1")


# variables that name the folders of the user; in tests all of them are in the tests' own folder
FOLDERS = ("PINXIT_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HF_HOME", "TORCH_HOME")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory):
    """No test, and no fixture of a module, reads or fills the folders of the user."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FOLDERS:
            patch.setenv(name, str(tmp_path_factory.getbasetemp() / name.lower()))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _few_steps_of_features():
    """A perceptual network is trained for 3 steps, that of distances for 40, not 500."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pinxit.models.vae.perceptual.NETWORK_STEPS", 3)
        patch.setattr("pinxit.evaluation.feature_space.STEPS", 40)
        yield


@pytest.fixture(autouse=True, scope="session")
def _few_previews():
    """A training makes its first and last preview, and others while they take 0.2 s, not 5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pinxit.training.session.FREE_PREVIEW_SECONDS", 0.2)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_precision():
    """Training has one precision: `auto` measures, and two trainings of a test could differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pinxit.training.devices.measure_precision", lambda *_: "fp32")
        yield


@pytest.fixture(scope="module")
def browser():
    """Chromium, with a camera that shows a test image."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _seed():
    """Unseeded random numbers of a test do not depend on the tests before it."""
    import torch

    torch.manual_seed(0)


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
