"""Every recipe's commands are parsed by the real command line, so that none goes stale."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from pinxit.cli import COMMANDS
from pinxit.cli.parse import parse_args
from pinxit.cli.train import check_family, family_command
from pinxit.data.sources.named import NAMED_SETS
from pinxit.errors import UsageError
from pinxit.evaluation.metrics import METRICS
from tests.builders import CaptionScorer

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
KEYS = {"title", "commands", "machine", "minutes", "choices", "notes"}


def parse(line: str) -> None:
    """What the command line makes of a line, without doing it. Raises where it is wrong."""
    program, command, *words = shlex.split(line)
    assert program == "pinxit"
    assert command in COMMANDS
    if command == "train":
        family = check_family(words)
        parse_args(f"train {family}", family_command(family), words[1:])
        return
    parse_args(command, getattr(importlib.import_module(COMMANDS[command][0]), command), words)


@pytest.fixture(autouse=True)
def _load_no_model(monkeypatch):
    """`--reranker RUN` names a run that a recipe trains: none is there to load."""
    monkeypatch.setattr("pinxit.cli.tyro_rules.load_reranker", lambda run: CaptionScorer())


def recipe(path: Path) -> dict:
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_has_what_it_should(path):
    record = recipe(path)
    assert set(record) - {"measured"} == KEYS
    assert 0 < record["minutes"] < 24 * 60
    measured = record.get("measured", {})
    tables = [value for value in measured.values() if isinstance(value, dict)]
    assert all(len(pair) == 2 for table in tables for pair in table.values())  # value, error
    flat = [name for name, value in measured.items() if not isinstance(value, dict)]
    named = {name.split(":")[0] for names in (flat, *tables) for name in names}  # caption_exact:en
    assert named <= {"machine", "date", "commit", "minutes", *METRICS}
    assert f"[{path.stem}]({path.name})" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_minutes_of_a_recipe_are_those_of_all_commands(path):
    """Not of its trainings alone: what they took, unless other work ran beside them."""
    record = recipe(path)
    budgets = re.findall(r"pinxit train .*--minutes ([\d.]+)", "\n".join(record["commands"]))
    assert record["minutes"] > sum(map(float, budgets))
    measured = record.get("measured", {})
    if "minutes" in measured and "other work" not in measured["machine"]:
        assert measured["minutes"] <= 1.15 * record["minutes"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_commands_of_a_recipe_are_parsed(path):
    for line in recipe(path)["commands"]:
        parse(line)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_uses_the_runs_that_it_trains_and_known_data(path):
    trained = set()
    for line in recipe(path)["commands"]:
        words = line.split()
        if words[1] == "train":
            out = re.search(r"--out (\S+)", line)
            assert out or "--dry-run" in words
            trained |= {out.group(1)} if out else set()
            source = words[3].split(":")[0]  # shapes:40000
            assert source in NAMED_SETS or source in ("digits", "shapes", "shapes-edits", "photos/")
            continue
        named = [word for word in words[2:] if word.startswith("runs/") and "." not in word]
        used = {"/".join(word.split("/")[:2]) for word in named}  # runs/NAME of runs/NAME/vae
        assert used <= trained, f"{line}: trained so far are {trained}"
        assert used or words[1] in ("look", "sources")
    assert trained


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_which_options_were_chosen_on_which_images(path):
    choices = recipe(path)["choices"]
    assert re.match("Nothing was chosen", choices) or re.search("validation|reported", choices)


@pytest.mark.parametrize(
    "line",
    [
        "pinxit train vae mnist --minuets 5",
        "pinxit train vae mnist --likelihood poisson",
        "pinxit sample runs/x --count 64",
        "pinxit evaluate runs/x --iw-samples many",
    ],
)
def test_a_stale_command_is_detected(line):
    with pytest.raises(UsageError):
        parse(line)
    with pytest.raises(UsageError):
        parse("pinxit train vea mnist")
