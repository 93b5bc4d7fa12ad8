"""The section on beta: the runs of `pinxit explain --curve`, if they are of these weights."""

from __future__ import annotations

import json
import shutil

import pytest

from pinxit.reports.beta_runs import beta_runs
from pinxit.reports.context import load_context
from pinxit.reports.templating import create_environment
from pinxit.training.trials import hash_file
from tests.builders import blobs, make_run

BETAS = (0.1, 1.0, 10.0)


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run", blobs(), steps=5)
    for beta in BETAS:
        name = "try-longer" if beta == 1 else f"curve-beta-{beta:g}"
        make_run(run.path / "explain" / name, blobs(), steps=5, beta=beta)
    point = {"metrics": {"distortion": 20.0, "rate": 5.25, "active_units": 3}}
    points = [{"beta": beta, "is_run": False, **point} for beta in reversed(BETAS)]
    points.append({"beta": 1.0, "is_run": True, **point})
    record = {
        "protocol": {"weights": hash_file(run.weights_path), "curve_steps": 5},
        "curve": points,
        "causes": [],
    }
    (run.path / "explain.json").write_text(json.dumps(record))
    return run


def test_each_beta_has_a_frame_in_their_order(run):
    section = beta_runs(load_context(run, blobs()))
    assert section is not None
    assert [frame.name for frame in section.values["frames"]] == ["0.1", "1", "10"]
    frame = section.values["frames"][0]
    assert frame.caption == "β = 0.1: distortion 20 nats, rate 5.25 nats, 3 active units"
    assert frame.content.width > frame.content.height  # three rows of eight
    source = '{% import "macros.html.j2" as m %}{% include "sections/beta_runs.html.j2" %}'
    html = create_environment().from_string(source).render(s=section.values)
    assert "0.1 to 10 times its β. First row: 8 images of the test split" in html
    assert html.count("<img ") == 3
    assert len({frame.content.uri for frame in section.values["frames"]}) == 3


def test_runs_that_are_gone_or_of_other_weights_are_not_shown(run):
    shutil.rmtree(run.path / "explain" / "curve-beta-10")
    section = beta_runs(load_context(run, blobs()))
    assert section is not None
    assert len(section.values["frames"]) == 2
    shutil.rmtree(run.path / "explain" / "curve-beta-0.1")
    assert beta_runs(load_context(run, blobs())) is None


def test_other_weights_or_no_record_give_no_section(run):
    file = run.path / "explain.json"
    record = json.loads(file.read_text())
    record["protocol"]["weights"] = "of another training"
    file.write_text(json.dumps(record))
    assert beta_runs(load_context(run, blobs())) is None
    file.unlink()
    assert beta_runs(load_context(run, blobs())) is None
