"""`pinxit runs`: which folders it lists, in which order, and what it says of them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from pinxit.cli import main


def make_folder(path: Path, hours: float = 1, finished: bool = True, **fields) -> Path:
    """A run folder as `pinxit runs` reads it: config.json alone."""
    created = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours)
    trained = {"steps": 1200, "seconds": 60.0, "best_validation_loss": 21.5, "unit": "nats"}
    config = {
        "format": 2,
        "family": "vae",
        "data": {"source": "digits"},
        "created": created.isoformat(timespec="seconds"),
        "finished": finished,
        "trained": trained if finished else {},
        **fields,
    }
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def list_runs(capsys, *words: str) -> list[str]:
    assert main(["runs", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_runs_are_listed_newest_first(root, capsys):
    make_folder(root / "runs" / "old", hours=100)
    make_folder(root / "runs" / "new", hours=0.151)
    make_folder(root / "runs" / "sweep" / "a", hours=3, family="igpt")
    header, *rows = list_runs(capsys)
    assert header.split() == ["RUN", "FAMILY", "DATA", "AGE", "TRAINED", "SCORE"]
    assert [row.split()[0] for row in rows] == ["runs/new", "runs/sweep/a", "runs/old"]
    assert rows[0].split()[1:] == [
        *("vae", "digits", "9", "min"),
        *("1,200", "steps", "loss", "21.50", "nats"),
    ]
    assert "3 h" in rows[1]
    assert "4 days" in rows[2]


def test_other_folders_are_passed_over(root, capsys):
    make_folder(root / "runs" / "a")
    (root / "runs" / "photos").mkdir()
    (root / "runs" / "other").mkdir()
    (root / "runs" / "other" / "config.json").write_text('{"model_type": "gpt2"}')
    (root / "runs" / "notes.txt").touch()
    assert len(list_runs(capsys)) == 2


def test_an_unfinished_run_is_listed_with_what_it_has(root, capsys):
    run = make_folder(root / "runs" / "a", finished=False)
    assert "not yet, unfinished" in list_runs(capsys)[1]
    (run / "metrics.csv").write_text("step,seconds,val_loss\n10,1.5,30\n20,3.0,25\n30,4.5,\n")
    (record,) = json.loads("\n".join(list_runs(capsys, "--json")))
    assert (record["steps"], record["seconds"], record["score"]) == (30, 4.5, 25)
    assert record["score_name"] == "validation loss"
    assert not record["finished"]


def test_an_evaluated_run_shows_its_first_metric(root, capsys):
    run = make_folder(root / "runs" / "a")
    metrics = {"psnr": 20.0, "log_likelihood": -25.25}
    (run / "evaluation.json").write_text(json.dumps({"metrics": metrics}))
    assert list_runs(capsys)[1].endswith("  log-likelihood -25.25 nats")
    (record,) = json.loads("\n".join(list_runs(capsys, "--json")))
    assert (record["score_name"], record["score"]) == ("log_likelihood", -25.25)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{", "config.json is not valid JSON"),
        ('{"family": "vae", "format": 99}', "written by a newer pinxit"),
        ('{"family": "vae"}', "written by an older pinxit"),
        ('{"format": 2, "family": "vae", "data": "x"}', "config.json"),
    ],
)
def test_an_unreadable_run_is_listed_with_the_reason(config, reason, root, capsys):
    make_folder(root / "runs" / "good")
    bad = root / "runs" / "bad"
    bad.mkdir()
    (bad / "config.json").write_text(config)
    (bad / "model.safetensors").touch()
    lines = list_runs(capsys)
    assert len(lines) == 3
    (line,) = [line for line in lines if line.startswith("runs/bad ")]
    assert "cannot be read: " in line
    assert reason in line
    records = {
        record["path"]: record for record in json.loads("\n".join(list_runs(capsys, "--json")))
    }
    assert records["runs/bad"]["error"]
    assert records["runs/good"]["error"] is None


def test_without_runs_it_says_how_to_train_one(root, capsys):
    assert list_runs(capsys) == [
        "no runs in runs. Train one with: pinxit train vae digits --minutes 0.2"
    ]
    assert json.loads("\n".join(list_runs(capsys, "--json"))) == []
    assert main(["runs", "nowhere"]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err


def test_a_folder_can_be_given_also_of_one_run(root, capsys):
    run = make_folder(root / "my experiments" / "a")
    assert len(list_runs(capsys, "my experiments")) == 2
    assert len(list_runs(capsys, str(run))) == 2


def test_runs_imports_no_torch(root):
    import subprocess
    import sys

    make_folder(root / "runs" / "a")
    code = (
        "import sys; from pinxit.cli import main; code = main(['runs']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, stdout=subprocess.DEVNULL)
