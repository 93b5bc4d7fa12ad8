"""Small runs and image files for the tests of the commands, and two ways to call a command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import main
from tests.builders import blobs, make_run, save_npz

TINY = {"width": 32, "heads": 2, "depth": 1, "decoder_depth": 1}
DIRECTIONS = {
    "draw": ("text", "image"),
    "edit": ("image+text", "image"),
    "caption": ("image", "text"),
    "translate": ("text", "text"),
}


@pytest.fixture
def run_pinxit(capsys) -> Callable[..., list[str]]:
    """Run a command that must succeed; returns the lines that it prints to stdout."""

    def run(*words: object) -> list[str]:
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def fail(capsys) -> Callable[..., str]:
    """Run a command that must fail with an error of one or two lines; returns the error."""

    def run(*words: object) -> str:
        assert main([str(word) for word in words]) in (1, 2)
        *notes, error = capsys.readouterr().err.partition("pinxit: ")
        assert len(error.splitlines()) in (1, 2), notes
        assert "this is a bug" not in error
        return error

    return run


@pytest.fixture(scope="session")
def vae_folder(tmp_path_factory) -> Path:
    """A data file, two VAE runs (`labelled` is conditioned on labels) and three image files."""
    folder = tmp_path_factory.mktemp("commands")
    file = save_npz(folder / "blobs.npz", blobs(120))
    loaded = pinxit.load_images(file, progress=False)
    make_run(folder / "run", loaded, steps=5)
    make_run(folder / "labelled", loaded, steps=5, condition="label")
    for i, size in enumerate([(8, 8), (30, 20), (12, 16)]):
        random = np.random.default_rng(i)
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def folder(vae_folder, tmp_path, monkeypatch) -> Path:
    """`vae_folder`, from another working directory."""
    monkeypatch.chdir(tmp_path)
    return vae_folder


@pytest.fixture(scope="session")
def text_runs(tmp_path_factory) -> Path:
    """A run of each direction of sequence to sequence; the tokenizer's own run is deleted."""
    root = tmp_path_factory.mktemp("runs")
    tokenizer = pinxit.ImageTokenizer(patch_size=4, fsq_levels=(4, 4), width=8, depth=1)
    pinxit.train(tokenizer, blobs(), steps=2, num_evals=1, out=root / "tokenizer", quiet=True)
    for name, (source, target) in DIRECTIONS.items():
        tokens = str(root / "tokenizer") if name == "draw" else None
        config = pinxit.Seq2Seq(source=source, target=target, image_tokenizer=tokens, **TINY)
        pinxit.train(config, blobs(), steps=3, num_evals=1, out=root / name, quiet=True)
    shutil.rmtree(root / "tokenizer")
    return root
