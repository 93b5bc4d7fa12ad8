"""Runs that wait for their first weights, their aliases, and runs that are damaged meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.serve.api.models import ModelRoutes
from pinxit.serve.inference.pending import load_when_ready
from pinxit.serve.inference.registry import ALL_RUNS, ModelRegistry
from pinxit.training.run_lock import lock_run
from tests.builders import blobs, make_run
from tests.serve.server import serving, wait_until

RUNS = ("a", "b", "c")


def fake_run(name: str) -> SimpleNamespace:
    info, run = SimpleNamespace(width=8, height=8), SimpleNamespace(family="vae")
    worker = SimpleNamespace(stop=lambda: None)
    return SimpleNamespace(
        name=name, info=info, run=run, abilities=("sample",), loaded_at=1, worker=worker
    )


@given(
    st.sets(st.sampled_from(RUNS)),
    st.dictionaries(st.sampled_from(("x", "y", "gpt-5")), st.sampled_from((*RUNS, ALL_RUNS))),
)
def test_what_is_listed_can_be_used(waiting, aliases):
    ready = [fake_run(name) for name in RUNS if name not in waiting]
    models = ModelRegistry(ready, aliases, [Run(Path(name)) for name in sorted(waiting)])
    listed = json.loads(asyncio.run(ModelRoutes(models).list()).body)["data"]
    names = {record["id"] for record in listed}
    assert names == set(models.names)
    for name in names:
        models.find(name)
    if ready:
        targets = dict.fromkeys(RUNS, None) | aliases
        usable = {n for n, target in targets.items() if (target or n) not in waiting}
        assert usable <= names
        assert not (set(targets) - usable) & names
    else:
        assert not names


def test_an_alias_with_the_name_of_a_run_is_refused():
    with pytest.raises(UsageError, match="'a' is a run"):
        ModelRegistry([fake_run("a"), fake_run("b")], {"a": "b"})


@pytest.mark.parametrize("error", [PinxitError("x"), OSError("x"), RuntimeError("out of memory")])
def test_a_run_that_cannot_be_loaded_does_not_end_the_thread(tmp_path, error):
    waiting = [Run(tmp_path / name) for name in ("a", "b")]
    for run in waiting:
        run.path.mkdir()
        run.weights_path.touch()
    models = ModelRegistry([], {}, waiting)

    def load(path):
        if path.name == "a":
            raise error
        return fake_run("b")

    load_when_ready(models, load, check_seconds=0.01)
    wait_until(lambda: "b" in models.runs)
    assert "a" in models.pending
    models.stop()


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_config(content: str):
    return lambda folder: (folder / "config.json").write_text(content)


DAMAGES = {
    "removed": remove,
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no JSON": replace_config("{"),
    "no run": replace_config("{}"),
    "no object": replace_config("[]"),
    "no info": replace_config('{"family": "vae", "format": 2, "dataset_info": null}'),
}


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "is_pending"), product(DAMAGES, (True, False)))
def test_a_damaged_run_changes_no_answer_for_others(tmp_path, damage, is_pending):
    run = make_run(tmp_path / "blobs", blobs())
    run.write("config.json", {**run.config, "finished": False})
    other = shutil.copytree(run.path, tmp_path / "other")
    with contextlib.ExitStack() as stack:
        if is_pending:
            run.weights_path.unlink()
            stack.enter_context(lock_run(run))
        url = stack.enter_context(serving([run.path, other], tmp_path / "s.sqlite"))
        before = read_all(url, "other")
        DAMAGES[damage](run.path)
        assert read_all(url, "other") == before
        for path in ("training", "summary", "examples"):
            answer = httpx.get(f"{url}/studio/data/{path}", params={"run": "blobs"}, timeout=60)
            assert answer.status_code != 500, path


def read_all(url: str, name: str) -> dict:
    answers = {
        path: httpx.get(f"{url}/studio/data/{path}", params={"run": name}, timeout=60)
        for path in ("training", "summary", "examples")
    }
    records = {path: (answer.status_code, answer.json()) for path, answer in answers.items()}
    records["training"][1].pop("now")
    runs = httpx.get(f"{url}/studio/data/runs", timeout=60)
    models = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
    return {
        **records,
        "runs": [record for record in runs.json() if record["name"] == name],
        "models": [record for record in models if record["id"] == name],
    }
