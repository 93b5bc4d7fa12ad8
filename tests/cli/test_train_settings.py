"""`pinxit train --config` and `--save-config`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pinxit import VAE
from pinxit.cli import main
from pinxit.training.settings_file import read_settings

TOML = 'family = "vae"\ndata = "digits"\nminutes = 5\n[model]\nlatent_dim = 4\n[load]\nsize = 16\n'


@pytest.fixture
def train_calls(tmp_path, monkeypatch) -> list[dict[str, Any]]:
    """The calls of `train`, which does nothing; `run.toml` is in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(TOML)
    calls: list[dict[str, Any]] = []

    def train(model, images, **options):
        calls.append({"model": model, "images": images, **options})
        raise KeyboardInterrupt

    monkeypatch.setattr("pinxit.training.api.train", train)
    return calls


def start(*args: str) -> int:
    return main(["train", *args])


def test_a_file_gives_the_options(train_calls):
    assert start("--config", "run.toml") == 130
    assert train_calls[0]["model"] == VAE(latent_dim=4)
    assert train_calls[0]["images"] == "digits"
    assert train_calls[0]["minutes"] == 5
    assert train_calls[0]["load"].size == 16


def test_the_command_line_wins(train_calls):
    args = ["vae", "photos", "--config=run.toml", "--steps", "3", "--latent-dim", "9"]
    assert start(*args, "--save-config", "new.toml") == 130
    assert train_calls[0]["model"] == VAE(latent_dim=9)
    assert train_calls[0]["images"] == "photos"
    assert (train_calls[0]["steps"], train_calls[0]["minutes"]) == (3, None)
    assert start("--config", "new.toml") == 130
    first, second = ({k: v for k, v in call.items() if k != "command"} for call in train_calls)
    assert first == second
    assert read_settings("new.toml").values == {"latent_dim": 9, "steps": 3, "size": 16}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["igpt", "--config", "run.toml"], "run.toml, line 5: igpt has no option latent_dim"),
        (["--config"], "--config needs a value"),
        (["--config", "ran.toml"], "no settings file ran.toml. Did you mean 'run.toml'?"),
        (["--config", "run.toml", "--widht", "3"], "Did you mean '--width'?"),
        (["--config", "run.toml", "--steps", "0"], "--steps must be above 0, not 0."),
        (["--resume", "x", "--config", "run.toml"], "--config cannot be changed"),
        (["vae", "digits", "--save-config", "run.toml"], "run.toml exists with other settings"),
    ],
)
def test_errors(args, message, train_calls, capsys):
    assert start(*args) == 2
    assert message in capsys.readouterr().err
    assert not train_calls


def test_a_dry_run_says_where_each_option_is_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(TOML)
    assert start("--config", "run.toml", "--steps", "3", "--dry-run", "--json") == 0
    origins = json.loads(capsys.readouterr().out)["origins"]
    assert origins["steps"] == "command line"
    assert origins["latent_dim"] == "run.toml, line 5"
    assert origins["size"] == "run.toml, line 7"
    assert origins["weight_decay"] == "default"
    assert origins["width"] == "chosen"
