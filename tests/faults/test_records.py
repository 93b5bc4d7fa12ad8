"""Files of a run are untrusted: whatever they hold, a run loads, or says in words why not."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import resource
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pinxit.data.typed_json import convert_json
from pinxit.errors import PinxitError
from pinxit.models import get_family, list_families
from pinxit.models.config import config_from_dict
from pinxit.run_records import read_metrics
from pinxit.runs import Run
from pinxit.training.resume import resolve_resume_settings
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs, evaluate, make_run
from tests.faults.hostile_runs import VALUES, places

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    run = make_run(tmp_path_factory.mktemp("runs") / "whole", blobs(), steps=5)
    evaluate(run)
    return Run(run.path)


@pytest.fixture(scope="module")
def victim(run, tmp_path_factory) -> Run:
    """A copy whose config.json each example writes anew."""
    return copy_files(run, tmp_path_factory.mktemp("runs") / "victim")


@pytest.fixture
def victim_of_one_test(run, tmp_path) -> Run:
    """A copy any of whose files a test may damage."""
    return copy_files(run, tmp_path / "victim")


def copy_files(run: Run, path: Path) -> Run:
    path.mkdir()
    for file in run.path.iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    return Run(path)


def read_all(run: Run) -> None:
    """Read what commands read of a run."""
    run.load()
    _ = run.load_options, run.metrics(), run.evaluation(), run.owner.path


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_value_at_any_place_of_a_config_is_read_or_refused(run, victim, data):
    record = json.loads((run.path / "config.json").read_text())
    known = list(places(record))
    parent, key = data.draw(st.sampled_from(range(len(known))).map(lambda i: known[i]))
    parent[key] = data.draw(st.sampled_from(VALUES) | JSON)
    file = victim.path / "config.json"
    file.write_text(json.dumps(record), encoding="utf-8", errors="surrogatepass")
    text = ""
    try:
        read_all(Run(victim.path))
    except PinxitError as error:
        text = str(error)
    assert len(text.splitlines()) <= 2
    assert len(text) < 6000


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_value_at_any_place_of_an_evaluation_is_read_or_refused(run, data, tmp_path_factory):
    record = copy.deepcopy(dict(run.evaluation()))
    known = list(places(record))
    parent, key = data.draw(st.sampled_from(range(len(known))).map(lambda i: known[i]))
    parent[key] = data.draw(st.sampled_from(VALUES) | JSON)
    folder = Run(tmp_path_factory.mktemp("evaluation"))
    (folder.path / "evaluation.json").write_text(json.dumps(record), errors="surrogatepass")
    try:
        found = folder.evaluation()
    except PinxitError:
        return
    assert all(v is None or isinstance(v, float) for v in found.get("metrics", {}).values())
    for name, values in found.get("curves", {}).items():
        assert values
        assert name.endswith("_error") or None not in values


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet='step,loss12.e-+\n"nainf', max_size=80))
def test_metrics_are_finite_numbers_or_an_error_that_names_the_line(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("metrics") / "metrics.csv"
    file.write_text("step,loss\n1,2.5\n" + text)
    rows, message = [{"step": 1.0, "loss": 2.5}], "metrics.csv is damaged"
    try:
        rows = read_metrics(file)
    except PinxitError as error:
        message = str(error)
    assert "metrics.csv is damaged" in message
    assert rows[0] == {"step": 1.0, "loss": 2.5}
    assert all(abs(value) < float("inf") for row in rows for value in row.values())


@pytest.mark.parametrize(
    "change",
    [{"depth": 10**7}, {"width": 10**9}, {"latent_dim": 10**9}, {"latent_dim": 10**7, "depth": 9}],
)
def test_a_config_that_asks_for_more_than_the_weights_allocates_nothing(run, victim, change):
    model = {**run.config["model"], **change}
    victim.write("config.json", {**run.config, "model": model})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(PinxitError, match=r"config.json asks for too large a model: more than"):
        Run(victim.path).load()
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(run, victim_of_one_test, value):
    victim_of_one_test.write("config.json", run.config)
    tensors = load_file(run.weights_path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = value
    save_file(tensors, victim_of_one_test.weights_path)
    with pytest.raises(PinxitError, match=rf"no numbers: {name} has 1 of .* Train it again"):
        Run(victim_of_one_test.path).load()


def test_weights_that_do_not_fit_are_refused_with_every_reason(run, victim_of_one_test):
    victim_of_one_test.write("config.json", run.config)
    tensors = load_file(run.weights_path)
    first, second, *_ = sorted(name for name in tensors if name.endswith("weight"))
    tensors[first], tensors["unknown"] = torch.zeros(3, 1), torch.zeros(2)
    del tensors[second]
    save_file(tensors, victim_of_one_test.weights_path)
    with pytest.raises(PinxitError) as caught:
        Run(victim_of_one_test.path).load()
    assert all(part in str(caught.value) for part in (first, second, "unknown", "size mismatch"))
    assert len(str(caught.value).splitlines()) == 1
    victim_of_one_test.weights_path.write_bytes(run.weights_path.read_bytes())


@pytest.mark.parametrize("family", list_families())
def test_a_config_of_any_family_is_the_same_after_json(family):
    config = get_family(family).Config()
    record = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_dict(get_family(family).Config, record) == config


def test_a_record_starts_no_more_processes_than_there_are_cores(run, tmp_path):
    training = {**run.config["training"], "devices": 64}
    other = Run(tmp_path)
    other.write("config.json", {**run.config, "training": training})
    assert resolve_resume_settings(Run(tmp_path), {}).devices <= max(2, os.cpu_count() or 1)


def test_a_component_cannot_lead_out_of_its_run(run, tmp_path):
    component = {
        **{"option": "vae", "family": "vae", "config": {}, "share": 0.5, "budget": {}},
        **{"pending": True, "folder": "../elsewhere"},
    }
    Run(tmp_path).write("config.json", {**run.config, "component": component})
    with pytest.raises(PinxitError, match=r"component\.folder"):
        Run(tmp_path).check()


def test_names_of_files_that_are_not_utf8_survive(run, tmp_path):
    name = b"caf\xe9/photos".decode("utf-8", "surrogateescape")
    data = {**run.config["data"], "source": name, "options": {"captions": name}}
    Run(tmp_path).write("config.json", {**run.config, "data": data})
    assert Run(tmp_path).config["data"]["source"] == name
    assert Run(tmp_path).load_options.captions == name


@pytest.mark.parametrize("text", ["[" * 100_000, '{"family": NaN}', "\0", '{"family": "vae"'])
def test_json_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(PinxitError, match="is not valid JSON"):
        Run(tmp_path).check()


def test_a_settings_record_with_a_wrong_type_names_the_place():
    with pytest.raises(PinxitError, match="batch_size: expected int"):
        convert_json({"batch_size": "many"}, TrainingSettings, "training")
