"""A run to publish, and a hub to publish it on."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

import pinxit
from tests.builders import blobs
from tests.hub.fake_hub import TOKEN, FakeHub


@pytest.fixture(scope="session")
def source_run(tmp_path_factory):
    """A run that is trained and evaluated, in a folder with a name that nobody should see."""
    folder = tmp_path_factory.mktemp("secret-owner")
    config = pinxit.VAE(network="mlp", latent_dim=4, width=16, depth=1)
    run = pinxit.train(
        config, blobs(channels=1), out=folder / "blobs-vae", steps=4, batch_size=16, num_evals=2,
        quiet=True, command=f"pinxit train vae {folder}/photos",
    )  # fmt: skip
    run.evaluate(distances=False, iw_samples=2, probe_train_size=0, quiet=True)
    run.report()
    return run


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub, on which the user is logged in as `me`."""
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    hub = FakeHub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # failed requests are repeated after seconds
    waiting = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(_http, "time", waiting)
    yield hub
    hub.close()
