"""Every recipe's commands are parsed by the real command line, so that none goes stale."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import tyro

from pinxit.cli import COMMANDS
from pinxit.cli.train import parsed
from pinxit.data.sources.named import SETS
from pinxit.errors import UsageError
from pinxit.evaluation.figures import FIGURES

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
KEYS = {"title", "commands", "machine", "minutes", "notes"}


def parse(line: str) -> None:
    """What the command line makes of a line, without doing it. Raises where it is wrong."""
    program, command, *words = shlex.split(line)
    assert program == "pinxit"
    assert command in COMMANDS
    if command == "train":
        parsed(words)
        return
    function = getattr(importlib.import_module(COMMANDS[command][0]), command)
    tyro.cli(functools.wraps(function)(lambda *given, **named: None), args=words)


def recipe(path: Path) -> dict:
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_has_what_it_should(path):
    record = recipe(path)
    assert set(record) - {"measured"} == KEYS
    assert 0 < record["minutes"] < 24 * 60
    assert set(record.get("measured", {})) <= {"machine", "date", "minutes", *FIGURES}
    assert f"[{path.stem}]({path.name})" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_commands_of_a_recipe_are_parsed(path):
    for line in recipe(path)["commands"]:
        parse(line)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_uses_the_run_that_it_trains_and_known_data(path):
    lines = recipe(path)["commands"]
    trained = [line for line in lines if line.startswith("pinxit train") and "--out" in line]
    assert len(trained) == 1
    run = re.search(r"--out (\S+)", trained[0]).group(1)
    data = trained[0].split()[3]
    assert data in SETS or data in ("digits", "shapes", "photos/")
    after = lines[lines.index(trained[0]) + 1 :]
    assert after
    assert all(line.split()[2] == run for line in after)


@pytest.mark.parametrize(
    "line",
    [
        "pinxit train vae mnist --minuets 5",
        "pinxit train vae mnist --likelihood poisson",
        "pinxit sample runs/x --count 64",
        "pinxit evaluate runs/x --importance-samples many",
    ],
)
def test_a_stale_command_would_be_seen(line, capsys):
    with pytest.raises(SystemExit):
        parse(line)
    with pytest.raises(UsageError):
        parse("pinxit train vea mnist")
