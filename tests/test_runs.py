"""A run on disk: found, read, and refused where it is no run."""

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
    """An untrained model's run folder."""
    info = blobs().info()
    module = get_family("vae")
    config = module.Config(latent_dim=2, width=8, depth=1).resolve(info)
    run = Run(tmp_path / "run")
    record = {"format": FORMAT, "family": "vae", "model": dataclasses.asdict(config)}
    run.write("config.json", {**record, "dataset_info": info.to_json()})
    torch.manual_seed(0)
    save_file(module.build(config, info).state_dict(), run.weights)
    return Run(run.path)


def test_a_run_loads_as_it_was_written(run):
    model = load(run.path)
    assert not model.training
    assert model.config.latent_dim == 2
    assert model.info == blobs().info()
    again = load(str(run.path))
    assert (model.sample(2, seed=3).pixels == again.sample(2, seed=3).pixels).all()


def change(run: Run, **changes) -> Run:
    run.write("config.json", {**run.config, **changes})
    return Run(run.path)


def test_what_is_no_run_says_so(run, tmp_path):
    with pytest.raises(UsageError, match=r"no run at .*: there is no such folder"):
        load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is no run: it has no config\.json"):
        load(tmp_path / "empty")
    for text, said in [("{", "cannot be read"), ("[]", "names no family"), ("{}", "names no")]:
        (tmp_path / "empty" / "config.json").write_text(text)
        with pytest.raises(PinxitError, match=said):
            load(tmp_path / "empty")


def test_a_newer_format_is_refused(run):
    with pytest.raises(PinxitError, match="written by a newer pinxit"):
        change(run, format=FORMAT + 1).load()


def test_an_unknown_family_or_key_suggests_the_near_one(run):
    with pytest.raises(UsageError, match=r"no family 'vaee'.*Did you mean 'vae'"):
        change(run, family="vaee").load()
    model = {**run.config["model"], "latent_dims": 3}
    with pytest.raises(UsageError, match=r"no 'latent_dims'.*Did you mean 'latent_dim'"):
        change(run, family="vae", model=model).load()


def test_weights_that_are_missing_of_another_model_or_damaged_are_said(run):
    other = change(run, model={**run.config["model"], "width": 9})
    with pytest.raises(PinxitError, match=r"does not fit config.json"):
        other.load()
    run.weights.write_bytes(run.weights.read_bytes()[:100])
    with pytest.raises(PinxitError, match=r"does not fit config.json"):
        run.load()
    run.weights.unlink()
    with pytest.raises(PinxitError, match=r"no weights yet; go on with: pinxit train --resume"):
        run.load()


def test_metrics_leave_out_what_a_row_has_not(run):
    assert run.metrics() == []
    run.write("metrics.csv", "step,loss,val_loss\n1,3.5,\n2,3.25,3.0\n")
    assert run.metrics() == [{"step": 1, "loss": 3.5}, {"step": 2, "loss": 3.25, "val_loss": 3.0}]


@pytest.mark.parametrize("cut", ["3,3.", "3,3.125,2.", "3", "3,1e-"])
def test_a_row_that_is_being_written_or_was_cut_short_is_not_read(run, cut):
    whole = "step,loss,val_loss\n1,3.5,\n2,3.25,3.0\n"
    run.write("metrics.csv", whole)
    expected = run.metrics()
    run.write("metrics.csv", whole + cut)
    assert run.metrics() == expected


def test_evaluation_is_empty_before_it_was_made(run):
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
def test_a_name_comes_from_the_data(source, name, tmp_path):
    assert default_run_path(source, "vae", tmp_path).name == name


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    for expected in ("digits-vae", "digits-vae-2", "digits-vae-3"):
        path = default_run_path("digits", "vae", tmp_path)
        assert path.name == expected
        path.mkdir()
