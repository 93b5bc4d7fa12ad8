"""`pinxit train`, its words and its refusals."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from pinxit.cli import main
from pinxit.cli.parse import parse_words
from pinxit.cli.train import family_command
from pinxit.models import get_family, list_families
from pinxit.training.settings import TrainingSettings

QUICK = ["--steps", "6", "--width", "16", "--depth", "1", "--latent-dim", "2", "--no-report"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(words, capsys, code=0):
    """What a command says on standard output and error."""
    try:
        found = main(words)
    except SystemExit as error:
        found = error.code
    out, err = capsys.readouterr()
    assert found == code, err
    return out, err


def test_help_lists_the_families(capsys):
    out, _ = told(["train", "--help"], capsys)
    for name in list_families():
        assert f"  {name} " in out
    assert "--resume RUN" in out
    assert told(["train"], capsys, 2)[0] == out


@pytest.mark.parametrize("name", list_families())
def test_a_familys_help_shows_all_of_its_options_and_of_training_with_their_texts(name, capsys):
    out, _ = told(["train", name, "--help"], capsys)
    for field in [
        *dataclasses.fields(get_family(name).Config),
        *dataclasses.fields(TrainingSettings),
    ]:
        shown = not field.metadata.get("internal")
        assert (f"--{field.name.replace('_', '-')}" in out) == shown
    assert "--model." not in out
    assert "--training." not in out
    assert "(default: chosen from size and number of" in out, "a comment is an option's help"


def test_words_become_settings():
    words = "photos --latent-dim 3 --steps 7 --size 32 --condition label -o runs/x --dry-run"
    found = parse_words("train vae", family_command("vae"), words.split())
    assert found["data"] == ("photos",)
    assert found["model"] == get_family("vae").Config(latent_dim=3, condition="label")
    assert found["training"] == TrainingSettings(steps=7)
    assert found["size"] == "32"
    assert str(found["out"]) == "runs/x"
    assert found["dry_run"] is True


def test_it_trains_and_prints_the_grid_and_last_the_run(tmp_path, capsys):
    out, err = told(["train", "vae", "digits", *QUICK], capsys)
    assert out.splitlines() == [
        "runs/digits-vae/samples/step-0000006.png",
        "runs/digits-vae",
    ]
    assert "1,537 training images of 8 x 8, grey; vae of" in err
    assert "latent dim 2, width 16" in err
    assert (tmp_path / "runs/digits-vae/model.safetensors").is_file()
    out, _ = told(["train", "vae", "digits", *QUICK], capsys)
    assert out.splitlines()[-1] == "runs/digits-vae-2", "a run is never overwritten"
    out, _ = told(["train", "--resume", "runs/digits-vae", "--steps", "9", "--no-report"], capsys)
    assert out.splitlines() == ["runs/digits-vae/samples/step-0000009.png", "runs/digits-vae"]


def test_the_report_is_made_at_the_end(tmp_path, capsys, monkeypatch):
    made = []
    monkeypatch.setattr("pinxit.reports.report", lambda run: made.append(run.path) or "page.html")
    out, _ = told(["train", "vae", "digits", *QUICK[:-1]], capsys)
    assert out.splitlines()[1:] == ["page.html", "runs/digits-vae"]
    assert len(made) == 1


def test_a_dry_run_says_what_would_be_and_writes_nothing(tmp_path, capsys):
    out, _ = told(["train", "vae", "digits", "--minutes", "1", "--dry-run"], capsys)
    lines = {
        line.split("  ")[0].strip(): line.split("  ", 1)[-1].strip() for line in out.splitlines()
    }
    assert lines["latent dim"] == "16"
    assert lines["likelihood"] == "gaussian"
    assert lines["batch size"] == "64"
    assert lines["parameters"] == "572,001"
    assert lines["expected speed"].endswith("images/s")
    assert lines["of the matrix rate"].startswith(tuple("123456789"))
    assert lines["budget"].startswith("1 min: ")
    assert lines["memory"].endswith("MiB")
    assert not list(tmp_path.iterdir())


def test_the_plans_flops_are_those_of_its_matrix_products():
    """6 operations a weight of a matrix and image, less the first layer's gradient of x."""
    import torch
    from lightning_fabric import Fabric

    from pinxit import VAE
    from pinxit.training.dry_run import plan
    from pinxit.training.prepare import prepare_training
    from tests.builders import blobs

    config = VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
    prepared = prepare_training(config, blobs(), TrainingSettings(steps=10))
    matrices = sum(p.numel() for p in prepared.model.parameters() if p.ndim == 2)
    found = plan(prepared.model, blobs(), prepared.settings, Fabric(accelerator="cpu"))
    assert found.flops == 6 * matrices - 2 * 64 * 16
    assert found.parameters == sum(p.numel() for p in prepared.model.parameters())
    assert found.steps == 10
    assert found.epochs == pytest.approx(10 * prepared.settings.batch_size / 48)
    assert found.memory > 20 * found.parameters
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "vea", "digits"], "no family 'vea'.*Did you mean: pinxit train vae digits"),
        (["train", "--steps", "3", "vae", "digits"], "the family comes first"),
        (["train", "vae"], "no DATA to learn from"),
        (["train", "vae", "digit"], "no source 'digit'.*Did you mean 'digits'"),
        (["train", "vae", "digits", "--steps", "0"], "steps must be above 0"),
        (["train", "vae", "digits", "--steps", "3", "--minutes", "1"], "one budget at a time"),
        (["train", "vae", "digits", "--latent-dim", "0"], "latent_dim must be at least 1"),
        (["train", "vae", "digits", "--lattent-dim", "4"], "latent-dim"),
        (["train", "vae", "digits", "--steps", "many"], "steps"),
        (["train", "--resume", "nothing"], "no run at nothing: there is no such folder"),
        (["train", "--resume", "."], "is no run: it has no config.json"),
        (["train", "vae", "digits", "-o", "."], "is there already and is no run"),
    ],
)
def test_wrong_words_are_told_in_a_line_or_two(words, said, tmp_path, capsys):
    import re

    (tmp_path / "mine.txt").write_text("")
    out, err = told(words, capsys, 2)
    assert re.search(said, out + err, re.DOTALL)
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_the_waiting_of_threads_is_kept_short_before_torch_is_imported(monkeypatch):
    import os

    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    main(["--version"])
    assert int(os.environ["GOMP_SPINCOUNT"]) < 100_000
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    main(["--version"])
    assert os.environ["GOMP_SPINCOUNT"] == "5", "what a user set is left"


def test_command_is_kept_in_the_run(tmp_path, capsys, monkeypatch):
    from pinxit.runs import Run

    words = ["train", "vae", "digits", *QUICK]
    monkeypatch.setattr(sys, "argv", ["/somewhere/pinxit", *words])
    told(words, capsys)
    assert Run(tmp_path / "runs/digits-vae").config["command"] == " ".join(["pinxit", *words])
