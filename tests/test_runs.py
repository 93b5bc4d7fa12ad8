"""Run folders: loading, reading and rejecting what is not a run."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from pinxit.errors import PinxitError, UsageError
from pinxit.models import get_family
from pinxit.runs import FORMAT, Run, default_run_path, load
from tests.builders import blobs


@pytest.fixture
def run(tmp_path) -> Run:
    """The run folder of an untrained model."""
    info = blobs().info()
    module = get_family("vae")
    config = module.Config(latent_dim=2, width=8, depth=1).resolve(info)
    run = Run(tmp_path / "run")
    record = {"format": FORMAT, "family": "vae", "model": dataclasses.asdict(config)}
    run.write("config.json", {**record, "dataset_info": info.to_json()})
    torch.manual_seed(0)
    save_file(module.build(config, info).state_dict(), run.weights_path)
    return Run(run.path)


def test_a_run_loads_with_the_weights_that_were_saved(run):
    model = load(run.path)
    assert not model.training
    assert model.config.latent_dim == 2
    assert model.info == blobs().info()
    again = load(str(run.path))
    assert (model.sample(2, seed=3).pixels == again.sample(2, seed=3).pixels).all()


def change_config(run: Run, **changes) -> Run:
    run.write("config.json", {**run.config, **changes})
    return Run(run.path)


def test_a_folder_that_is_not_a_run_is_rejected(run, tmp_path):
    with pytest.raises(UsageError, match=r"no run at .*: no such folder"):
        load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is not a run: it has no config\.json"):
        load(tmp_path / "empty")
    (tmp_path / "report.html").touch()
    with pytest.raises(UsageError, match=r"report.html is a file; a run is a folder\.$"):
        load(tmp_path / "report.html")
    (run.path / "report.html").touch()
    with pytest.raises(UsageError, match=rf"a run is a folder\. Did you mean {run.path}\?"):
        load(run.path / "report.html")
    for text, message in [("{", "not valid JSON"), ("[]", "names no family"), ("{}", "names no")]:
        (tmp_path / "empty" / "config.json").write_text(text)
        with pytest.raises(PinxitError, match=message):
            load(tmp_path / "empty")
        with pytest.raises(PinxitError, match=message):
            Run(tmp_path / "empty").check()
    run.check()


@pytest.mark.parametrize(
    ("format_number", "message"),
    [
        (FORMAT + 1, r"^\S*run was written by a newer pinxit; update it\.$"),
        (1, r"^\S*run was written by an older pinxit \(format 1\); train it again\.$"),
        (None, r"written by an older pinxit"),
    ],
)
def test_another_format_is_rejected_with_one_line(run, format_number, message):
    with pytest.raises(PinxitError, match=message):
        change_config(run, format=format_number).load()


def test_an_unknown_family_or_option_suggests_the_nearest_one(run):
    with pytest.raises(UsageError, match=r"no family 'vaee'.*Did you mean 'vae'"):
        change_config(run, family="vaee").load()
    model = {**run.config["model"], "latent_dims": 3}
    with pytest.raises(UsageError, match=r"no 'latent_dims'.*Did you mean 'latent_dim'"):
        change_config(run, family="vae", model=model).load()


def test_weights_that_are_missing_damaged_or_do_not_fit_are_an_error(run):
    other = change_config(run, model={**run.config["model"], "width": 9})
    with pytest.raises(PinxitError, match=r"does not fit config.json"):
        other.load()
    run.weights_path.write_bytes(run.weights_path.read_bytes()[:100])
    with pytest.raises(PinxitError, match=r"model\.safetensors is damaged"):
        run.load()
    run.weights_path.unlink()
    with pytest.raises(PinxitError, match=r"no weights yet; train it: pinxit train --resume"):
        run.load()


def test_metrics_leave_out_empty_cells(run):
    assert run.metrics() == []
    run.write("metrics.csv", "step,loss,val_loss\n1,3.5,\n2,3.25,3.0\n")
    assert run.metrics() == [{"step": 1, "loss": 3.5}, {"step": 2, "loss": 3.25, "val_loss": 3.0}]


@pytest.mark.parametrize("cut", ["3,3.", "3,3.125,2.", "3", "3,1e-"])
def test_an_incomplete_last_row_of_metrics_is_not_read(run, cut):
    complete = "step,loss,val_loss\n1,3.5,\n2,3.25,3.0\n"
    run.write("metrics.csv", complete)
    expected = run.metrics()
    run.write("metrics.csv", complete + cut)
    assert run.metrics() == expected


def test_evaluation_is_empty_until_it_is_written(run):
    assert run.evaluation() == {}
    run.write("evaluation.json", {"metrics": {"elbo": -1.5}})
    assert run.evaluation()["metrics"]["elbo"] == -1.5
    assert json.loads((run.path / "evaluation.json").read_text())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos/", "photos-vae"),
        ("/data/My Photos", "My-Photos-vae"),
        ("digits", "digits-vae"),
        ("some/blobs.npz", "blobs-vae"),
        ("hf:owner/flowers", "flowers-vae"),
        ("été", "été-vae"),
        ("..", "images-vae"),
        ("", "images-vae"),
    ],
)
def test_default_run_path_is_named_after_the_data(source, name, tmp_path):
    assert default_run_path(source, "vae", tmp_path).name == name


def test_default_run_path_appends_a_number_if_the_folder_exists(tmp_path):
    for expected in ("digits-vae", "digits-vae-2", "digits-vae-3"):
        path = default_run_path("digits", "vae", tmp_path)
        assert path.name == expected
        path.mkdir()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/ada/private/photos/", "photos"),
        ("C:\\Users\\ada\\photos", "photos"),
        ("shapes:500", "shapes:500"),
        ("../x/emoji.parquet", "emoji.parquet"),
        (None, "images"),
    ],
)
def test_the_name_of_the_data_has_no_folders(source, name, run):
    run.write("config.json", {**run.config, "data": {"source": source}})
    assert Run(run.path).data_name == name
