"""What is read of a run's files while it trains, whatever is in them."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pinxit
from pinxit.runs import FORMAT, Run
from pinxit.watch.metric_columns import describe_column
from pinxit.watch.progress import (
    MAX_POINTS,
    file_signature,
    read_progress,
    read_sheet,
    version_of,
)
from tests.builders import blobs

HEADER = "step,images_seen,seconds,progress,loss,kl,val_loss\n"
ROWS = "1,8,0.5,0.25,10,2,\n2,16,1.0,0.5,9,3,9.5\n"
PNG = b"\x89PNG not really"


def write_run(folder: Path, rows: str = ROWS, **config) -> Run:
    samples = folder / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    record = {"format": FORMAT, "family": "vae", "finished": False, **config}
    (folder / "config.json").write_text(json.dumps(record))
    (folder / "metrics.csv").write_text(HEADER + rows)
    for step in (1, 2):
        (samples / f"step-{step:07d}.png").write_bytes(PNG)
    (samples / "titles.json").write_text('{"step": "samples: new images"}')
    return Run(folder)


def write_stages(folder: Path, rows: str, *, first_done: bool) -> Run:
    component = {"folder": "vae", "family": "vae", "pending": not first_done}
    run = write_run(folder, rows, family="flow", component=component)
    write_run(folder / "vae", finished=first_done, loss_unit="nats per image")
    return run


def test_a_run_in_training(tmp_path):
    run = write_run(tmp_path / "run", loss_unit="nats per image")
    state = read_progress(run, is_running=True)
    (stage,) = state["stages"]
    assert (state["run"], state["status"], stage["status"]) == ("run", "training", "training")
    assert (stage["step"], stage["progress"], stage["seconds_left"]) == (2, 0.5, 1.0)
    loss, kl = stage["charts"]
    assert loss["curves"] == [
        {"name": "training", "x": [1, 2], "y": [10, 9]},
        {"name": "validation", "x": [2], "y": [9.5]},
    ]
    assert [chart["unit"] for chart in (loss, kl)] == ["nats per image"] * 2
    assert stage["metrics"][0]["validation"] == "9.500"
    (sheets,) = stage["sheets"]
    assert sheets["title"] == "samples: new images"
    assert [file["step"] for file in sheets["files"]] == [1, 2]
    assert read_sheet(run, 1, sheets["files"][-1]["name"]) == PNG


@pytest.mark.parametrize(("rows", "finished", "is_running", "status"), [
    ("", False, True, "preparing"),
    (ROWS, False, True, "training"),
    (ROWS, False, False, "stopped"),
    (ROWS, True, False, "finished"),
])  # fmt: skip
def test_the_status_of_a_run(tmp_path, rows, finished, is_running, status):
    run = write_run(tmp_path, rows, finished=finished)
    assert read_progress(run, is_running=is_running)["status"] == status


@pytest.mark.parametrize(("rows", "first_done", "is_running", "statuses"), [
    ("", False, True, ["training", "waiting"]),
    ("", True, True, ["finished", "preparing"]),
    (ROWS, True, True, ["finished", "training"]),
    (ROWS, True, False, ["finished", "stopped"]),
    ("", False, False, ["stopped", "waiting"]),
])  # fmt: skip
def test_the_statuses_of_two_stages(tmp_path, rows, first_done, is_running, statuses):
    run = write_stages(tmp_path, rows, first_done=first_done)
    state = read_progress(run, is_running=is_running)
    assert [stage["status"] for stage in state["stages"]] == statuses
    assert [stage["family"] for stage in state["stages"]] == ["vae", "flow"]
    assert state["status"] == next(status for status in statuses if status != "finished")


def test_the_signature_follows_the_files(tmp_path):
    run = write_stages(tmp_path / "run", "", first_done=False)
    seen = {version_of(file_signature(run))}
    assert version_of(file_signature(run)) in seen
    with (run.path / "vae" / "metrics.csv").open("a") as file:
        file.write("3,24,1.5,0.75,8,3,\n")
    for change in (
        lambda: (run.path / "vae" / "samples" / "step-0000003.png").write_bytes(PNG),
        lambda: (run.path / "config.json").write_text('{"component": {"folder": "vae"}}'),
        lambda: (run.path / "metrics.csv").write_text(HEADER + ROWS),
    ):
        version = version_of(file_signature(run))
        assert version not in seen
        seen.add(version)
        change()
    assert version_of(file_signature(run)) not in seen


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path):
    rows = "".join(f"{i},{i},{i},0.5,{i},0,\n" for i in range(1, 5 * MAX_POINTS))
    curve = read_progress(write_run(tmp_path, rows), is_running=True)["stages"][0]["charts"][0]
    assert len(curve["curves"][0]["x"]) <= MAX_POINTS
    assert curve["curves"][0]["x"][-1] == 5 * MAX_POINTS - 1


@pytest.mark.parametrize("name", ["../config.json", "step-1.txt", "step-9.png", "", "step-.png"])
def test_only_sheets_are_read(tmp_path, name):
    run = write_run(tmp_path)
    assert read_sheet(run, 1, name) is None
    assert read_sheet(run, 2, "step-0000001.png") is None


def test_links_of_a_strangers_run_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "step-3.png").write_bytes(b"secret")
    run = write_run(tmp_path / "run", component={"folder": "vae", "pending": False})
    (run.path / "samples" / "step-3.png").symlink_to(secret / "step-3.png")
    (run.path / "vae").symlink_to(write_run(secret / "other").path)
    assert read_sheet(run, 1, "step-3.png") is None
    assert len(read_progress(run, is_running=False)["stages"]) == 1
    other = write_run(tmp_path / "linked")
    (other.path / "samples").rename(other.path / "kept")
    (other.path / "samples").symlink_to(secret)
    assert read_sheet(other, 1, "step-3.png") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
keys = st.sampled_from(["family", "component", "finished", "trained", "loss_unit", "format"])
cells = st.sampled_from(["", "1", "-5", "nan", "inf", "1e400", "x", '"', "step", "é", "1e300"])
tables = st.lists(st.lists(cells, max_size=9).map(",".join), max_size=6).map("\n".join)


@settings(max_examples=60, deadline=None)
@given(
    config=st.dictionaries(keys, json_values) | json_values,
    table=tables | st.binary(max_size=60),
    component=json_values | st.just("vae"),
    captions=st.binary(max_size=40),
    is_running=st.booleans(),
)
def test_nothing_in_a_folder_breaks_the_page(config, table, component, captions, is_running):
    with tempfile.TemporaryDirectory() as name:
        run = write_stages(Path(name) / "run", ROWS, first_done=True)
        if isinstance(config, dict):
            config = {"component": {"folder": component}, **config}
        (run.path / "config.json").write_text(json.dumps(config))
        content = table if isinstance(table, bytes) else (HEADER + table + "\n").encode()
        (run.path / "metrics.csv").write_bytes(content)
        (run.path / "samples" / "captions.txt").write_bytes(captions)
        state = read_progress(run, is_running=is_running)
        json.dumps(state, allow_nan=False)
        assert state["status"] in ("preparing", "training", "finished", "stopped")
        assert 1 <= len(state["stages"]) <= 2
        version_of(file_signature(run))


def test_a_missing_folder_is_a_run_that_is_being_prepared(tmp_path):
    state = read_progress(Run(tmp_path / "nowhere"), is_running=True)
    assert state["status"] == "preparing"


def test_columns_have_titles_and_units():
    assert describe_column("kl") == ("KL divergence from the prior", "nats per image")
    assert describe_column("iw_5")[0] == "importance-weighted bound, 5 samples"
    assert describe_column("loss")[1] is None
    assert describe_column("new_thing") == ("new thing", "")


def test_a_model_that_could_edit_has_no_title_of_edits_without_images_before(tmp_path):
    images = dataclasses.replace(blobs(60, 18, 18, channels=3), before=None)
    flow = pinxit.Flow(width=16, depth=1, heads=1, text_depth=1)
    settings = {"steps": 2, "num_evals": 1, "batch_size": 4, "quiet": True, "tensorboard": False}
    run = pinxit.train(flow, images, out=tmp_path / "run", **settings)
    titles = [
        sheet["title"] for sheet in read_progress(run, is_running=False)["stages"][1]["sheets"]
    ]
    assert "images from captions: generated above, true images below" in titles
    assert not any(title.startswith("edits") for title in titles)
