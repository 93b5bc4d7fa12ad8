"""`pinxit recipe`: list the recipes, show one, or run it."""

from __future__ import annotations

import json as json_format
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import Flag, Json
from pinxit.data.atomic_write import write_atomically
from pinxit.data.typed_json import convert_json, decode_json, read_json
from pinxit.errors import PinxitError, UsageError, did_you_mean
from pinxit.runs import Run

Name = Annotated[Positional[str], arg(metavar="[NAME]")]
Estimate = tuple[float, float]  # value and standard error
Metrics = dict[str, Estimate]

DEFAULT_FOLDER = Path("runs/recipes")
DONE_FILE = "commands.json"  # {command: seconds} of those that finished
# of an installed package, then of a checkout
FOLDERS = (Path(__file__).parent / "recipes", Path(__file__).parents[3] / "recipes")


def recipe(
    name: Name = "",
    run: Flag = False,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """List the recipes, named runs with what they reached; show one of them, or run it.

    A recipe runs in a folder of its own. Commands that finished there are not run again.

    Examples:
        pinxit recipe
        pinxit recipe mnist-5-minutes
        pinxit recipe digits-demo --run

    Args:
        name: recipe to show (default: list all)
        run: run the commands of the recipe, and print the metrics of its evaluations
        out: folder in which each recipe that is run has a folder (default: runs/recipes)
        json: print the list, the recipe or the metrics as JSON
    """
    if out is not None and not run:
        raise UsageError("--out is the folder in which a recipe runs: give --run too.")
    if not name:
        if run:
            raise UsageError("name the recipe to run: pinxit recipe NAME --run")
        _print_list(json)
        return
    content = read_recipe(name)
    if not run:
        if json:
            console.out_json(content)
        else:
            console.out(recipe_file(name).read_text("utf-8").rstrip("\n"))
        return
    folder = (out or DEFAULT_FOLDER) / name
    seconds = [run_command(line, folder, quiet=json) for line in content["commands"]]
    metrics = read_metrics(folder)
    if json:
        console.out_json({"path": str(folder), "seconds": seconds, "metrics": metrics})
        return
    console.out("\n".join([*_format_metrics(metrics), str(folder)]))


def list_recipes() -> dict[str, Path]:
    """Return the files of the recipes by their names."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def recipe_file(name: str) -> Path:
    """Return the file of a recipe. Raises UsageError if there is none of this name."""
    recipes = list_recipes()
    if name not in recipes:
        raise UsageError(f"no recipe '{name}'.{did_you_mean(name, recipes)} See: pinxit recipe")
    return recipes[name]


def read_recipe(name: str) -> dict[str, Any]:
    """Return the content of a recipe. Raises UsageError if there is none of this name."""
    return tomllib.loads(recipe_file(name).read_text("utf-8"))


def run_command(line: str, folder: Path, *, quiet: bool = False) -> float:
    """Run a command of a recipe in `folder`, and return its seconds, also if it ran before.

    Those of a training are of all its sessions. Raises UsageError if the folder has another run in
    place of the one that the command trains, PinxitError if it fails. With `quiet` its output is
    not printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finished = _read_finished(folder)
    arguments = _arguments(line, folder)
    if line in finished or not arguments:
        return _training_seconds(line, folder) or finished.get(line, 0.0)
    if not quiet:
        console.out(f"$ {line}")
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-m", "pinxit.cli", *arguments],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.DEVNULL if quiet else None,
    )
    if process.returncode:
        raise PinxitError(
            f"{line} failed in {folder} with exit code {process.returncode}. "
            "After its cause is mended, the same command goes on from there."
        )
    seconds = round(time.perf_counter() - start, 1)
    finished[line] = _training_seconds(line, folder) or seconds
    write_atomically(folder / DONE_FILE, json_format.dumps(finished, indent=2))
    return finished[line]


def _read_finished(folder: Path) -> dict[str, float]:
    """Return the seconds of the commands that finished in a folder.

    Raises PinxitError if the file is damaged.
    """
    file = folder / DONE_FILE
    if not file.is_file():
        return {}
    try:
        return convert_json(read_json(file), dict[str, float], str(file))
    except PinxitError as error:
        raise PinxitError(
            f"{error}\nRemove it: trainings that finished are not run again, evaluations are."
        ) from None


def _arguments(line: str, folder: Path) -> list[str]:
    """Return the arguments of a command; a training that was interrupted is resumed.

    Returns none for a training that has finished.
    """
    program, *arguments = shlex.split(line)
    assert program == "pinxit"
    run = _run_of_training(line, folder)
    if run is None:
        return arguments
    command = run.config.get("command")
    if command and shlex.split(command) != [program, *arguments]:
        raise UsageError(
            f"{run.path} was trained by another command: {command}\n"
            "Remove it, or run the recipe in another folder (--out)."
        )
    path = str(run.path.relative_to(folder))
    return [] if run.config.get("finished") else ["train", "--resume", path]


def _run_of_training(line: str, folder: Path) -> Run | None:
    """Return the run that a command trains, if it was begun."""
    arguments = shlex.split(line)
    if arguments[1:2] != ["train"] or "--out" not in arguments:
        return None
    run = Run(folder / arguments[arguments.index("--out") + 1])
    return run if (run.path / "config.json").is_file() else None


def _training_seconds(line: str, folder: Path) -> float | None:
    """Return the seconds that a run was trained in all sessions; None of another command."""
    run = _run_of_training(line, folder)
    trained = {} if run is None else run.config.get("trained") or {}
    seconds = trained.get("seconds")
    return None if seconds is None else round(seconds, 1)


def _environment() -> dict[str, str]:
    """Return the environment, with a `PINXIT_DATA` that means the same in another folder."""
    environment = dict(os.environ)
    if data := environment.get("PINXIT_DATA"):
        environment["PINXIT_DATA"] = str(Path(data).expanduser().absolute())
    return environment


def read_metrics(folder: Path) -> dict[str, Metrics]:
    """Return the metrics of every evaluation in a folder of runs, by `runs/NAME, SPLIT`."""
    measured = {}
    for file in sorted(folder.glob("runs/*/evaluation*.json")):
        record = decode_json(file.read_text("utf-8"))
        protocol = record["protocol"]
        where = [file.parent.relative_to(folder).as_posix(), protocol.get("split", "test")]
        key = ", ".join([*where, *filter(None, [protocol.get("other_data")])])
        measured[key] = dict(_pair_errors(record))
    return measured


def _pair_errors(record: Mapping[str, Any]) -> Iterator[tuple[str, Estimate]]:
    """Yield each metric of an evaluation that has a standard error, with it."""
    metrics = record["metrics"]
    for name, value in metrics.items():
        if (error := metrics.get(f"{name}_error")) is not None:
            yield name, (value, error)


def _format_metrics(measured: Mapping[str, Metrics]) -> Iterator[str]:
    for run_and_split, metrics in measured.items():
        yield f"{run_and_split}:"
        yield from (
            f"  {name}: {console.format_estimate(value, error)}"
            for name, (value, error) in metrics.items()
        )


def _print_list(json: bool) -> None:
    recipes = {name: read_recipe(name) for name in list_recipes()}
    if json:
        keys = ("title", "minutes", "machine")
        console.out_json([{"name": n} | {k: r[k] for k in keys} for n, r in recipes.items()])
        return
    width = max(map(len, recipes), default=0)
    for name, content in recipes.items():
        minutes = f"{content['minutes']:g} min"
        console.out(f"{name:<{width}}  {minutes:>7}  {content['title']}")
