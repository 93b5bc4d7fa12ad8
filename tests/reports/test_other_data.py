"""Evaluations and explanations on data that are not the run's own: their files, and who reads them.

The run's own files stay as they are, and no page shows a figure of other data as the run's.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pinxit
from pinxit.cli import main
from pinxit.cli.recipe import read_metrics
from pinxit.data.slugs import slug
from pinxit.data.split_names import SPLITS
from pinxit.errors import PinxitError
from pinxit.hub.contents import collect_contents
from pinxit.reports.compare_runs import collect_metrics
from pinxit.reports.context import load_context
from pinxit.reports.goal import measure_goal
from pinxit.reports.remedies import read_current_explanation
from pinxit.reports.run_list import list_runs
from pinxit.runs import Run, evaluation_file
from pinxit.training.trials import hash_file
from tests.builders import blobs, make_run, save_npz, shorten_explanations

OWN = ("evaluation.json", "evaluation-images.csv", "explain.json", "explain.html")
FIGURE = 7.654321  # of other data: on no page
SOURCES = ["photos", "a/photos", "photos-validation", "train", "all", "photos-mixture", "test", ""]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Few steps and few latents wherever something is fitted."""
    shorten_explanations(monkeypatch, MIN_ROWS=60, COMPONENTS=(1,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run that is evaluated and explained, with its data and other data."""
    folder = tmp_path_factory.mktemp("other-data")
    save_npz(folder / "others.npz", blobs(120, seed=1))
    data = save_npz(folder / "blobs.npz", blobs(240))
    run = make_run(folder / "run", pinxit.load_images(data, progress=False), steps=5)
    for name in OWN:
        run.write(name, '{"metrics": {}}\n')
    return folder


@pytest.fixture
def run(folder, tmp_path) -> Run:
    return Run(Path(shutil.copytree(folder / "run", tmp_path / "run")))


def read_files(run: Run) -> dict[str, bytes]:
    files = (file for file in run.path.iterdir() if file.is_file())
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("split", ["test", "validation", "all"])
def test_an_evaluation_on_other_data_has_files_of_its_own(split, run, folder, capfd):
    before = read_files(run)
    words = [run.path, folder / "others.npz", "--split", split, "--iw-samples", 0]
    words += ["--no-distances", "--probe-train-size", 0]
    assert main(["evaluate", *map(str, words)]) == 0
    file = run.path / evaluation_file(split, other_data="others")
    assert capfd.readouterr().out.splitlines()[-1] == str(file)
    after = read_files(run)
    assert before.items() <= after.items()
    table = file.name.replace("evaluation-", "evaluation-images-").replace(".json", ".csv")
    assert after.keys() - before.keys() == {file.name, table}
    assert json.loads(after[file.name])["protocol"]["other_data"] == "others"
    options = {"split": split, "iw_samples": 0, "distances": False, "probe_train_size": 0}
    pinxit.Run(run.path).evaluate(folder / "others.npz", **options)
    assert f"written to {file}" in capfd.readouterr().err
    assert before.items() <= read_files(run).items()


def test_out_and_the_own_data_by_name_are_written_as_before(run, folder, tmp_path, capfd):
    options = ["--iw-samples", 0, "--no-distances", "--probe-train-size", 0]
    out = tmp_path / "out.json"
    for data, more, file in (
        ("others.npz", ["--out", out], out),
        ("blobs.npz", [], run.path / "evaluation.json"),
    ):
        words = [run.path, folder / data, *options, *more]
        assert main(["evaluate", *map(str, words)]) == 0
        assert capfd.readouterr().out.splitlines()[-1] == str(file)
    assert Run(run.path).evaluation()["protocol"]["data"].endswith("blobs.npz")
    assert not list(run.path.glob("*others*"))


def test_an_explanation_on_other_data_has_files_of_its_own(run, folder, capfd):
    before = read_files(run)
    assert main(["explain", str(run.path), str(folder / "others.npz")]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == str(run.path / "explain-others.html")
    after = read_files(run)
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {"explain-others.html", "explain-others.json"}


@given(data=st.data())
def test_files_of_other_data_splits_and_priors_are_others(data):
    calls = st.tuples(
        st.sampled_from([*SPLITS, "all"]),
        st.sampled_from(["own", "mixture", "realnvp"]),
        st.sampled_from([None, *SOURCES]),
    )
    run = Run(Path("run"))
    run.__dict__["config"] = {"data": {"fingerprint": "own"}}
    first, second = data.draw(calls), data.draw(calls)
    names = []
    for split, prior, source in (first, second):
        images = dataclasses.replace(blobs(4), source=source, fingerprint="other")
        other_data = "" if source is None else run.other_data(images)
        names.append(evaluation_file(split, prior, other_data))
    stems = [None if call[2] is None else slug(Path(call[2]).stem) for call in (first, second)]
    if (first[:2], stems[0]) != (second[:2], stems[1]):
        assert names[0] != names[1]


def list_pages(run: Run) -> Iterator[str]:
    """Everything that shows what was measured of a run."""
    yield str(list_runs(run.path.parent))
    yield pinxit.report(run).read_text("utf-8")
    yield str(measure_goal(load_context(run)).show()["likelihood"])
    yield pinxit.Run(run.path)._repr_html_()
    yield str(read_current_explanation(load_context(run)))
    yield str({name: entry.read() for name, entry in collect_contents(run).files.items()})
    page = run.path.parent / "page.html"
    shutil.copytree(run.path, run.path.with_name("twin"))
    yield pinxit.Run(run.path).compare(run.path.with_name("twin"), page=page).read_text("utf-8")
    try:
        yield str(collect_metrics([run]))
    except PinxitError as error:
        yield str(error)


@pytest.mark.parametrize("is_own", [True, False])
def test_no_page_shows_what_was_measured_on_other_data(is_own, run):
    """As earlier versions wrote it: to the run's own files."""
    own = run.config["data"]["fingerprint"]
    protocol = {"fingerprint": own if is_own else "other", "data": "others", "split": "test"}
    names = ("elbo", "elbo_bits_per_dim", "psnr", "log_likelihood")
    run.write("evaluation.json", {"metrics": dict.fromkeys(names, FIGURE), "protocol": protocol})
    protocol = {**protocol, "weights": hash_file(run.weights_path), "test_images": 60}
    cause = {"key": "rate", "title": "x", "size": str(FIGURE), "sentence": "x"}
    record = {"state": "x", "causes": [cause], "trials": [], "curve": [], "metrics": {}}
    run.write("explain.json", {**record, "protocol": protocol})
    (run.path / "evaluation-images.csv").unlink()
    shown = [page for page in list_pages(run) if "7.65" in page]
    assert len(shown) >= 7 if is_own else not shown


def test_changed_data_of_the_same_name_are_the_runs_own(run):
    protocol = {"fingerprint": "changed", "data": run.config["data"]["source"]}
    run.write("evaluation.json", {"metrics": {"elbo": -1.0}, "protocol": protocol})
    assert run.evaluation()["metrics"] == {"elbo": -1.0}


def test_recipes_name_the_other_data(run, tmp_path):
    record = {"metrics": {"elbo": 1.0, "elbo_error": 0.1}, "protocol": {"split": "test"}}
    other = {**record, "protocol": {"split": "test", "other_data": "others"}}
    shutil.copytree(run.path, tmp_path / "runs/x")
    for name, content in (("evaluation.json", record), ("evaluation-others.json", other)):
        Run(tmp_path / "runs/x").write(name, content)
    assert set(read_metrics(tmp_path)) == {"runs/x, test", "runs/x, test, others"}
