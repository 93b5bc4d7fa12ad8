"""`~` in the paths that are read and written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.data.atomic_write import write_atomically
from pinxit.data.home_folder import expand_home
from pinxit.onnx_export.output import resolve_output
from pinxit.runs import Run
from pinxit.training.settings_file import read_settings, save_settings
from tests.builders import blobs


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The home folder; the working directory is another one."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_files_are_written_to_the_home(home):
    images = blobs(2)
    assert images.save("~/a.png") == home / "a.png"
    assert images.save(Path("~/b/c.npy")) == home / "b/c.npy"
    assert write_atomically("~/d.txt", "x") == home / "d.txt"
    save_settings("~/s.toml", "steps = 1\n")
    assert read_settings("~/s.toml").values == {"steps": 1}
    assert {file.name for file in home.iterdir()} == {"a.png", "b", "d.txt", "s.toml"}
    assert not list(Path().iterdir())


def test_runs_and_exports_are_written_to_the_home(home):
    config = pinxit.VAE(network="mlp", latent_dim=2, width=8, depth=1)
    run = pinxit.train(config, blobs(16), out="~/run", steps=1, quiet=True)
    assert run.path == home / "run"
    assert (home / "run/model.safetensors").is_file()
    assert resolve_output(Run(run.path), "~/x.onnx", int8=False).path == home / "x.onnx"
    assert resolve_output(Run(run.path), "~/parts/", int8=False).path == home / "parts"
    assert not list(Path().iterdir())


@given(name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8))
def test_a_name_that_begins_with_a_tilde_is_a_name(name):
    assert expand_home(f"~{name}-nobody.png") == Path(f"~{name}-nobody.png")
    assert expand_home(f"a/~/{name}") == Path(f"a/~/{name}")
