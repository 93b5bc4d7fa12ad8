"""`pinxit runs`: which folders it lists, in which order, and what it says of them."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pinxit
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


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2024", "0001-01-01T00:00:00+14:00", "2024-01-01T00:00:00", "a\nb"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


def list_places(record, place=()):
    """The place of each value in a record."""
    yield place
    if isinstance(record, dict):
        for name, value in record.items():
            yield from list_places(value, (*place, name))


def replace(record, place, value):
    if not place:
        return value
    first, *rest = place
    return {**record, first: replace(record[first], rest, value)}


RECORDS = {
    "config.json": {
        "format": 2,
        "family": "vae",
        "data": {"source": "digits"},
        "created": "2024-05-01T10:00:00+00:00",
        "finished": True,
        "trained": {"steps": 12, "seconds": 60.0, "best_validation_loss": 21.5, "unit": "nats"},
    },
    "evaluation.json": {"metrics": {"elbo": -3.0, "elbo_error": 0.1}, "protocol": {}},
}
TABLE = [["step", "seconds", "val_loss"], ["1", "0.5", "3.0"], ["2", "1.0", "2.0"]]


@settings(max_examples=150)
@given(data=st.data())
def test_one_odd_run_hides_no_other_one(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name in ("good", "odd"):
        (root / name).mkdir()
        for file, record in RECORDS.items():
            (root / name / file).write_text(json.dumps(record))
    table = [list(row) for row in TABLE]
    if data.draw(st.booleans(), label="metrics"):
        row, column = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
        table[row][column] = data.draw(st.sampled_from(["", "x", "inf", "nan", "-1", "1e400"]))
        record = replace(RECORDS["config.json"], ("trained",), {})
        (root / "odd" / "config.json").write_text(json.dumps(record))
    else:
        file = data.draw(st.sampled_from(sorted(RECORDS)))
        place = data.draw(st.sampled_from(list(list_places(RECORDS[file]))))
        record = replace(RECORDS[file], place, data.draw(VALUES))
        (root / "odd" / file).write_text(json.dumps(record))
    (root / "odd" / "metrics.csv").write_text("".join(",".join(row) + "\n" for row in table))
    listed = pinxit.list_runs(root)
    assert str(root / "good") in [summary.path for summary in listed]
    assert str(root / "good") in str(listed)
    json.dumps([dataclasses.asdict(summary) for summary in listed])
