"""`pinxit train`: its options, output and errors."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from pinxit import VAE
from pinxit.cli import main
from pinxit.cli.parse import parse_args
from pinxit.cli.train import family_command
from pinxit.data.load import LoadOptions
from pinxit.models import get_family, list_families
from pinxit.runs import Run
from pinxit.training.dry_run import estimate_cost
from pinxit.training.prepare import load_training_data, prepare_training
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs

QUICK = ["--steps", "6", "--width", "16", "--depth", "1", "--latent-dim", "2", "--no-report"]


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run_command(args, capsys, code=0):
    """What a command prints on standard output and standard error."""
    try:
        exit_code = main(args)
    except SystemExit as error:
        exit_code = error.code
    out, err = capsys.readouterr()
    assert exit_code == code, err
    return out, err


def test_help_lists_the_families(capsys):
    out, _ = run_command(["train", "--help"], capsys)
    for name in list_families():
        assert f"  {name} " in out
    assert "--resume RUN" in out
    assert run_command(["train"], capsys, 2)[0] == out


@pytest.mark.parametrize("name", list_families())
def test_help_of_a_family_has_all_options(name, capsys):
    out, _ = run_command(["train", name, "--help"], capsys)
    for kind in (get_family(name).Config, TrainingSettings, LoadOptions):
        for field in dataclasses.fields(kind):
            shown = not field.metadata.get("internal")
            assert (f"--{field.name.replace('_', '-')}" in out) == shown
    for prefix in ("model", "training", "load"):
        assert f"--{prefix}." not in out
    assert "images per step (default: chosen from the size and" in out, "a comment is the help"
    options = out[out.index("options:") :]  # behind the examples
    assert options.index("--minutes") < options.index("--size") < options.index("--seed")


def parse_train(line: str) -> dict[str, Any]:
    family, *args = line.split()
    return parse_args(f"train {family}", family_command(family), args)


def test_options_are_parsed():
    options = parse_train(
        "vae photos --latent-dim 3 --steps 7 --size 32 --condition label -o runs/x --dry-run"
    )
    assert options["data"] == ("photos",)
    assert options["model"] == get_family("vae").Config(latent_dim=3, condition="label")
    assert options["training"] == TrainingSettings(steps=7)
    assert options["load"] == LoadOptions(size=32)
    assert str(options["out"]) == "runs/x"
    assert options["dry_run"] is True
    assert options.get("overwrite", False) is False


def test_load_options_are_parsed():
    options = parse_train(
        "vae a.png b.png --size 96x64 --fit pad --color grey --strict --limit 9 --data-seed 4 "
        "--captions labels"
    )
    assert options["data"] == ("a.png", "b.png")
    assert options["load"] == LoadOptions(
        size="96x64", fit="pad", color="grey", strict=True, limit=9, data_seed=4, captions="labels"
    )


def test_training_prints_the_last_grid_and_the_run(tmp_path, capsys):
    out, err = run_command(["train", "vae", "digits", *QUICK], capsys)
    assert out.splitlines() == [
        "runs/digits-vae/samples/step-0000006.png",
        "runs/digits-vae",
    ]
    assert "1,537 training images of 8 x 8, grey; vae with" in err
    assert "latent_dim 2, width 16" in err
    assert (tmp_path / "runs/digits-vae/model.safetensors").is_file()
    out, _ = run_command(["train", "vae", "digits", *QUICK], capsys)
    assert out.splitlines()[-1] == "runs/digits-vae-2", "a run is not overwritten by default"
    resume = ["train", "--resume", "runs/digits-vae", "--steps", "9", "--no-report"]
    out, _ = run_command(resume, capsys)
    assert out.splitlines() == ["runs/digits-vae/samples/step-0000009.png", "runs/digits-vae"]


def test_overwrite_replaces_a_run(tmp_path, capsys):
    args = ["train", "vae", "digits", *QUICK, "-o", "runs/a"]
    run_command(args, capsys)
    first = Run(tmp_path / "runs/a").config
    run_command(args, capsys, 2)
    run_command([*args, "--overwrite", "--seed", "1"], capsys)
    config = Run(tmp_path / "runs/a").config
    assert config["training"]["seed"] == 1
    assert first["training"]["seed"] == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]


def test_the_seed_of_the_data_is_the_training_seed_by_default(tmp_path, capsys):
    run_command(["train", "vae", "digits", *QUICK, "--seed", "3", "-o", "a"], capsys)
    more = ["--seed", "3", "--data-seed", "5", "-o", "b"]
    run_command(["train", "vae", "digits", *QUICK, *more], capsys)
    assert [Run(tmp_path / name).load_options.data_seed for name in "ab"] == [3, 5]


def test_the_report_is_written_at_the_end(capsys, monkeypatch):
    reported = []
    monkeypatch.setattr(
        "pinxit.reports.report", lambda run: reported.append(run.path) or "page.html"
    )
    out, _ = run_command(["train", "vae", "digits", *QUICK[:-1]], capsys)
    assert out.splitlines()[1:] == ["page.html", "runs/digits-vae"]
    assert len(reported) == 1


def test_a_dry_run_prints_options_and_cost_and_writes_nothing(tmp_path, capsys):
    out, err = run_command(["train", "vae", "digits", "--minutes", "1", "--dry-run"], capsys)
    cells = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.strip()]
    lines = {name: value for name, value, *_ in cells}
    origins = {name: rest for name, _, *rest in cells}
    assert origins["--minutes"] == ["command line"]
    assert origins["--latent-dim"] == ["chosen"]
    assert origins["--beta"] == ["default"]
    assert lines["--latent-dim"] == "16"
    assert lines["--likelihood"] == "gaussian"
    assert lines["--batch-size"] == "64"
    assert "--steps" not in lines, "it is None"
    assert lines["parameters"] == "572,001"
    assert lines["expected speed"].endswith("images/s")
    assert lines["utilization"].startswith(tuple("123456789"))
    assert lines["budget"].startswith("1 min: ")
    assert lines["memory"].endswith("MiB")
    assert "vae with 572,001 parameters" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list_families())
def test_a_dry_run_names_only_options_that_the_command_has(name, capsys):
    data = ["shapes:32", "--size", "16"] if name == "seq2seq" else ["digits"]
    out, _ = run_command(["train", name, *data, "--steps", "1", "--dry-run"], capsys)
    options = [line.split()[0] for line in out.splitlines() if line.lstrip().startswith("--")]
    page, _ = run_command(["train", name, "--help"], capsys)
    assert len(options) > 15
    assert [option for option in options if option not in page] == []
    assert not re.search(r"\bNone\b", out)


@pytest.mark.parametrize(("budget", "value"), [("minutes", 7.0), ("steps", 9), ("epochs", 3.0)])
def test_a_dry_run_of_two_stages_shows_the_budget_that_it_is_given(capsys, budget, value):
    options = ["--width", "16", "--depth", "1", "--heads", "1", f"--{budget}", str(value)]
    command = ["train", "flow", "shapes:32", "--size", "32", *options, "--dry-run", "--json"]
    out, _ = run_command(command, capsys)
    shown = json.loads(out)["options"]
    assert shown[budget] == pytest.approx(value)


def test_estimated_flops_are_those_of_the_matrix_products():
    """6 per weight and image, less the first layer's gradient with respect to x."""
    config = VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
    data = load_training_data(blobs(), LoadOptions(), 0, progress=False)
    plan = prepare_training(config, data, TrainingSettings(steps=10))
    matrices = sum(p.numel() for p in plan.model.parameters() if p.ndim == 2)
    estimate = estimate_cost(plan, Fabric(accelerator="cpu"))
    assert estimate.flops_per_image == 6 * matrices - 2 * 64 * 16
    assert estimate.num_parameters == sum(p.numel() for p in plan.model.parameters())
    assert estimate.steps == 10
    assert estimate.epochs == pytest.approx(10 * plan.settings.batch_size / 48)
    assert estimate.memory_bytes > 20 * estimate.num_parameters
    assert torch.is_grad_enabled()


def test_without_a_family_one_is_chosen(tmp_path, capsys):
    args = ["train", "digits", "--steps", "2", "--no-report", "-o", str(tmp_path / "run")]
    _, err = run_command(args, capsys)
    assert "family vae: small images of 8 x 8 without captions" in err
    assert Run(tmp_path / "run").family == "vae"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "vea", "digits"], "no family 'vea'.*Did you mean: pinxit train vae digits"),
        (["train", "--steps", "3", "vae", "digits"], "the family comes first"),
        (["train", "vae"], "no DATA to train on"),
        (["train", "digitz"], "no family and no data 'digitz'. Did you mean: pinxit train digits"),
        (["train", "digits", "--width", "8"], "no option '--width'"),
        (["train", "vae", "digit"], "no source 'digit'.*Did you mean 'digits'"),
        (["train", "vae", "digits", "--steps", "0"], "steps must be above 0"),
        (["train", "vae", "digits", "--steps", "3", "--minutes", "1"], "give one budget"),
        (
            ["train", "vae", "digits", "--latent-dim", "0"],
            "--latent-dim must be at least 1, not 0.",
        ),
        (["train", "vae", "digits", "--lattent-dim", "4"], "latent-dim"),
        (["train", "vae", "digits", "--steps", "many"], "steps"),
        (["train", "vae", "digits", "--size", "huge"], "a size is '64', or '96x64'"),
        (["train", "vae", "digits", "--data-seed", "-1"], "--data-seed must be 0 or more"),
        (["train", "--resume", "nothing"], "no run at nothing: no such folder"),
        (["train", "--resume", "."], "is not a run: it has no config.json"),
        (["train", "vae", "digits", "-o", "."], "exists and is not a run folder"),
        (["train", "vae", "digits", "-o", ".", "--overwrite"], "exists and is not a run folder"),
    ],
)
def test_errors_take_one_or_two_lines(args, message, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("")
    out, err = run_command(args, capsys, 2)
    assert re.search(message, out + err, re.DOTALL)
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_openmp_threads_spin_briefly(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    main(["--version"])
    assert int(os.environ["GOMP_SPINCOUNT"]) < 100_000
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    main(["--version"])
    assert os.environ["GOMP_SPINCOUNT"] == "5", "the user's value is kept"


def test_the_run_records_the_command(tmp_path, capsys, monkeypatch):
    args = ["train", "vae", "digits", *QUICK]
    monkeypatch.setattr(sys, "argv", ["/somewhere/pinxit", *args])
    run_command(args, capsys)
    assert Run(tmp_path / "runs/digits-vae").config["command"] == " ".join(["pinxit", *args])
