"""Trackers: what they record, that a resumed run goes on in them, and that they may fail."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pinxit
from pinxit.errors import UsageError
from pinxit.runs import Run
from pinxit.training.api import resume, train
from pinxit.training.previews import list_grids
from pinxit.training.settings import TrainingSettings
from pinxit.training.trackers import Trackers, describe_run
from tests.builders import blobs

TINY = pinxit.VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
SHORT = {"batch_size": 16, "num_evals": 2, "precision": "fp32"}


def train_tiny(path, **settings) -> Run:
    return train(TINY, blobs(), out=path, **{"steps": 8, **SHORT, **settings})


@pytest.fixture
def no_login(monkeypatch, tmp_path):
    """A user without an account of Weights & Biases."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")


class Recorder:
    """A tracker in memory, that fails after some calls."""

    def __init__(self, calls_before_error: float = float("inf")) -> None:
        self.rows: list[tuple[int, dict]] = []
        self.images: list[tuple[int, tuple[str, ...]]] = []
        self.configs: list[dict] = []
        self.closed = 0
        self.left = calls_before_error

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")

    def append(self, row, step):
        self.count()
        self.rows.append((step, dict(row)))

    def append_images(self, files, step):
        self.count()
        self.images.append((step, tuple(sorted(files))))

    def describe(self, config):
        self.count()
        self.configs.append(dict(config))

    def close(self):
        self.closed += 1


@pytest.fixture
def recorders(monkeypatch):
    """Recorders in place of the trackers, by name; `limits` says when each fails."""
    made: dict[str, list[Recorder]] = {"limits": {}}  # type: ignore[dict-item]

    def create(name, run, config, start_step, say):
        limit = made["limits"].get(name, float("inf"))
        if limit < 0:
            raise ConnectionError("the server does not answer.\nmore")
        made.setdefault(name, []).append(Recorder(limit))
        return made[name][-1]

    monkeypatch.setattr("pinxit.training.trackers._create", create)
    return made


def test_trackers_have_the_rows_of_metrics_csv_the_grids_and_the_options(tmp_path, recorders):
    run = train_tiny(tmp_path / "run", log=("tensorboard", "wandb", "csv"), quiet=True)
    assert set(recorders) == {"limits", "tensorboard", "wandb"}
    (local,), (remote,) = recorders["tensorboard"], recorders["wandb"]
    assert [row for _, row in local.rows] == run.metrics()
    assert local.rows == remote.rows
    assert local.images == [(4, ("reconstruct", "step")), (8, ("reconstruct", "step"))]
    assert remote.images == [(4, ("step",)), (8, ("step",))], "no image of the data is sent"
    assert local.configs == remote.configs == [describe_run(run)]
    assert local.configs[0]["model"]["latent_dim"] == 2
    assert (local.closed, remote.closed) == (1, 1)
    before = len(run.metrics())
    resumed = resume(run.path, blobs(), steps=10, quiet=True)
    assert [len(made) for name, made in recorders.items() if name != "limits"] == [2, 2]
    again = recorders["wandb"][1]
    assert [row for _, row in again.rows] == resumed.metrics()[before:]
    assert again.configs == [], "the options are recorded once"


@pytest.mark.parametrize("limit", [-1, 0, 1, 3, 5])
def test_a_tracker_that_fails_is_left_out_and_said_once(limit, tmp_path, recorders, capsys):
    recorders["limits"]["wandb"] = limit
    run = train_tiny(tmp_path / "run", log=("wandb", "tensorboard"))
    assert run.config["finished"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "Weights & Biases" in line]
    reason = "the server does not answer" if limit < 0 else "No space left on device"
    more = "more " if limit >= 0 else ""
    assert lines == [f"no {more}curves for Weights & Biases: {reason}; metrics.csv has the same"]
    assert len(recorders["tensorboard"][0].rows) == len(run.metrics()), "the others go on"


def test_the_options_that_trackers_get_hold_no_path_and_no_name(tmp_path):
    run = train_tiny(tmp_path / "secret-folder", quiet=True)
    config = {**run.config, "data": {**run.config["data"], "source": "/home/anna/photos"}}
    config["model"] = {**config["model"], "latent_dim": "/home/anna/runs/vae"}
    run.write("config.json", config)
    text = json.dumps(describe_run(Run(run.path)))
    assert "anna" not in text
    assert "secret" not in text
    assert "north-west" not in text, "labels are texts of the data"


def test_options_of_trackers_are_checked():
    assert TrainingSettings(log="csv").log == ("csv",)  # type: ignore[arg-type]
    assert TrainingSettings(tensorboard=True).log == ("tensorboard",)
    both = TrainingSettings(log=["wandb", "wandb"], tensorboard=True)  # type: ignore[arg-type]
    assert both.log == ("wandb", "tensorboard")
    with pytest.raises(UsageError, match="log is some of tensorboard, wandb and csv, not 'mlflow'"):
        TrainingSettings(log=("mlflow",))  # type: ignore[arg-type]


def test_tensorboard_has_images_and_options(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train_tiny(tmp_path / "run", log="tensorboard", quiet=True)
    events = EventAccumulator(str(run.path / "tensorboard"), {"images": 0}).Reload()
    assert set(events.Tags()["images"]) == {"reconstruct", "step"}
    shown = events.Images("step")
    assert [image.step for image in shown] == [4, 8]
    grid = list_grids(run.path / "samples", 8)["step"]
    assert shown[-1].encoded_image_string == grid.read_bytes()
    text = events.Tensors("options")[0].tensor_proto.string_val[0].decode()
    assert "| model.latent_dim | 2 |" in text
    assert "| images.num_images | 48 |" in text


def test_a_damaged_list_of_grids_is_none(tmp_path):
    assert list_grids(tmp_path, 1) == {}
    for content in ("[", "[]", '{"../x": "samples: new images"}', '{"step": 3}'):
        (tmp_path / "titles.json").write_text(content)
        assert list_grids(tmp_path, 1) == {}


@pytest.mark.slow
def test_wandb_keeps_a_run_on_disk_without_a_login_and_goes_on_in_it(tmp_path, no_login, capsys):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    run = train_tiny(tmp_path / "run", log="wandb")
    said = capsys.readouterr().err
    assert "wandb: no login" in said
    assert re.search(r"to send it: wandb sync .*/run/wandb/offline-run-", said)
    record = json.loads((run.path / "wandb.json").read_text())
    assert record["project"] == "pinxit"
    resume(run.path, blobs(), steps=9, quiet=True)
    assert json.loads((run.path / "wandb.json").read_text()) == record
    folders = sorted((run.path / "wandb").glob(f"offline-run-*-{record['id']}"))
    assert folders, "the same run"
    files = [f for folder in folders for f in folder.glob("*.wandb")]
    content = b"".join(file.read_bytes() for file in files)
    for name in (b"val_elbo", b"latent_dim", b"learning_rate"):
        assert name in content
    images = [f.name for folder in folders for f in folder.rglob("*.png")]
    assert images
    assert all(name.startswith("step_") for name in images), "no image of the data"
    for private in (b"blob-0", b"north-west", b"requirements"):
        assert private not in content


@pytest.mark.slow
def test_wandb_without_a_connection_keeps_the_run_on_disk(tmp_path, no_login, monkeypatch, capsys):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_API_KEY", 40 * "0")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("pinxit.training.wandb_log.INIT_SECONDS", 2.0)
    run = train_tiny(tmp_path / "run", log="wandb", steps=2)
    said = capsys.readouterr().err
    assert re.search(r"wandb: .+; kept on disk, to send it: wandb sync ", said)
    assert run.config["finished"]
    assert list((run.path / "wandb").glob("offline-run-*/*.wandb"))


def test_only_the_main_process_opens_trackers(tmp_path, monkeypatch, recorders):
    from pinxit.training.session import Session

    monkeypatch.setattr(Session, "is_main", property(lambda self: False))
    train_tiny(tmp_path / "run", log="tensorboard", quiet=True)
    assert set(recorders) == {"limits"}


def test_what_the_page_of_trackers_shows_works(tmp_path, recorders, monkeypatch):
    from pinxit.cli import main

    page = (Path(__file__).parent.parent.parent / "docs" / "trackers.md").read_text("utf-8")
    (line,) = re.findall(r"```sh\npinxit (.*)\n```", page)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line.replace("--steps 60", "--steps 2 --width 8 --no-report"))) == 0
    assert set(recorders) == {"limits", "tensorboard", "wandb"}
    (toml,) = re.findall(r"```text\n(log = .*?)```", page, re.DOTALL)
    settings = tomllib.loads(toml)
    assert TrainingSettings(**settings).log == ("tensorboard", "wandb")
    (tmp_path / "run.toml").write_text(f'family = "vae"\ndata = ["digits"]\nsteps = 2\n{toml}')
    run = pinxit.train(config="run.toml", width=8, out=tmp_path / "again", quiet=True)
    assert run.config["training"]["log"] == ["tensorboard", "wandb"]
    assert len(recorders["wandb"]) == 2


def test_no_tracker_is_opened_unless_one_is_named(tmp_path, recorders):
    trackers = Trackers(Run(tmp_path), print)
    trackers.append({"loss": 1.0}, 1)
    trackers.append_previews(1)
    trackers.close()
    assert set(recorders) == {"limits"}


@pytest.mark.long
def test_a_settings_file_trains_with_two_processes_of_which_one_records(tmp_path):
    """The same command again goes on, also from a settings file and with a launcher."""
    (tmp_path / "run.toml").write_text(
        'family = "vae"\ndata = ["digits"]\nsteps = 4\nnum_evals = 1\nwidth = 8\ndevices = 2\n'
        'device = "cpu"\nout = "run"\nresume_or_start = true\nreport = false\n'
        'log = ["tensorboard"]\n'
    )

    def count_files(*options: str) -> int:
        command = [sys.executable, "-m", "pinxit.cli", "train", "--config", "run.toml", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return len(list((tmp_path / "run" / "tensorboard").iterdir()))

    assert count_files() == 1, "one of both processes writes"
    assert Run(tmp_path / "run").config["trained"]["steps"] == 4
    assert count_files() == 1, "finished already"
    assert count_files("--steps", "6") == 2
    assert Run(tmp_path / "run").config["trained"]["steps"] == 6
