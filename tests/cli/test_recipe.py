"""`pinxit recipe`: the list, one recipe, and its commands run in a folder of their own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from pinxit.cli import main, recipe
from pinxit.cli.recipe import list_recipes, run_command
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import FORMAT, Run

UNFINISHED = {"format": FORMAT, "family": "vae"}


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """A folder of recipes with one of two short commands."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "tiny.toml").write_text(
        'title = "A tiny run"\nmachine = "any"\nminutes = 0.1\ncommands = [\n'
        '  "pinxit train vae digits --steps 2 --num-evals 1 --no-report --out runs/tiny",\n'
        '  "pinxit evaluate runs/tiny --iw-samples 0 --max-images 60 --no-distances",\n]\n'
    )
    monkeypatch.setattr(recipe, "FOLDERS", (folder,))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_recipes_are_listed_with_what_they_make(capsys):
    assert main(["recipe", "--json"]) == 0
    listed = {entry["name"]: entry["title"] for entry in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(list_recipes())
    assert main(["recipe"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(listed)
    assert all(title in line for title, line in zip(listed.values(), lines, strict=True))


def test_a_recipe_is_shown_as_its_file(capsys):
    assert main(["recipe", "digits-demo"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["minutes"] == 1


def test_an_unknown_recipe_suggests_the_nearest(capsys):
    assert main(["recipe", "digit-demo"]) == 2
    assert "Did you mean 'digits-demo'" in capsys.readouterr().err
    assert main(["recipe", "--run"]) == 2


@pytest.mark.long
@pytest.mark.slow
def test_a_recipe_runs_in_its_own_folder_and_prints_metrics(tiny, capfd):
    assert main(["recipe", "tiny", "--run"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "runs/recipes/tiny"
    assert any(line.startswith("runs/tiny, test:") for line in lines)
    assert (tiny / "runs/recipes/tiny/runs/tiny/model.safetensors").is_file()
    assert main(["recipe", "tiny", "--run", "--json"]) == 0
    assert "elbo" in json.loads(capfd.readouterr().out)["metrics"]["runs/tiny, test"]


def test_a_training_that_was_interrupted_is_resumed(tmp_path, monkeypatch):
    started = []

    class Process:
        returncode = 0

    monkeypatch.setattr(
        recipe.subprocess, "run", lambda words, **_: started.append(words[3:]) or Process()
    )
    Run(tmp_path / "runs" / "a").write("config.json", UNFINISHED)
    Run(tmp_path / "runs" / "c").write("config.json", UNFINISHED | {"finished": True})
    run_command("pinxit train vae digits --out runs/a", tmp_path)
    run_command("pinxit train vae digits --out runs/b", tmp_path)
    assert run_command("pinxit train vae digits --out runs/c", tmp_path) == 0
    assert started == [
        ["train", "--resume", "runs/a"],
        ["train", "vae", "digits", "--out", "runs/b"],
    ]


def test_a_relative_data_folder_is_found_from_the_folder_of_the_recipe(tmp_path, monkeypatch):
    seen = {}

    class Process:
        returncode = 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PINXIT_DATA", "data")
    monkeypatch.setattr(
        recipe.subprocess, "run", lambda words, env, **_: seen.update(env) or Process()
    )
    run_command("pinxit look digits", tmp_path / "other")
    assert seen["PINXIT_DATA"] == str(tmp_path / "data")


@pytest.fixture
def calls(monkeypatch) -> list[list[str]]:
    """The commands that are run; none is."""
    calls: list[list[str]] = []

    class Process:
        returncode = 0

    monkeypatch.setattr(
        recipe.subprocess, "run", lambda words, **_: calls.append(words[3:]) or Process()
    )
    return calls


def test_a_list_of_finished_commands_that_is_cut_off_is_named(tmp_path, calls):
    run_command("pinxit look digits", tmp_path)
    file = tmp_path / "commands.json"
    content = file.read_bytes()
    assert set(json.loads(content)) == {"pinxit look digits"}
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(PinxitError, match=r"commands\.json .*\nRemove it"):
            run_command("pinxit look digits", tmp_path)
    for other in (b"[]", b'{"a": "b"}', b"3", b"\xff"):
        file.write_bytes(other)
        with pytest.raises(PinxitError, match=r"commands\.json .*\nRemove it"):
            run_command("pinxit look digits", tmp_path)
    assert len(calls) == 1


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_of_another_command_is_not_taken_for_that_of_the_recipe(finished, tmp_path, calls):
    line = "pinxit train vae 'my digits' --steps 3 --out runs/a"
    record = {
        "finished": finished,
        "command": 'pinxit train vae "my digits" --steps 3 --out runs/a',
    }
    Run(tmp_path / "runs" / "a").write("config.json", UNFINISHED | record)
    run_command(line, tmp_path)
    assert calls == ([] if finished else [["train", "--resume", "runs/a"]])
    with pytest.raises(UsageError, match="was trained by another command: pinxit train vae"):
        run_command(line.replace("--steps 3", "--steps 4"), tmp_path)


def test_seconds_are_those_of_all_sessions(tmp_path, calls):
    line = "pinxit train vae digits --out runs/a"
    trained = {"trained": {"seconds": 1234.56}}
    Run(tmp_path / "runs" / "a").write("config.json", UNFINISHED | trained)
    assert run_command(line, tmp_path) == 1234.6
    Run(tmp_path / "runs" / "a").write("config.json", UNFINISHED | trained | {"finished": True})
    assert run_command(line, tmp_path) == 1234.6
    assert json.loads((tmp_path / "commands.json").read_text()) == {line: 1234.6}


def test_a_folder_without_run_is_bad_usage(tmp_path, capfd):
    assert main(["recipe", "digits-demo", "--out", str(tmp_path)]) == 2
    assert "give --run too" in capfd.readouterr().err
    assert main(["recipe", "--out", str(tmp_path), "--json"]) == 2
