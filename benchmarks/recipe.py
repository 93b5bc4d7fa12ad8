"""`python -m benchmarks.recipe NAME ... [--write]`: run recipes, and record what they measured.

Runs each command of `recipes/NAME.toml` in a folder of its own, and prints the metrics of every
evaluation with their standard errors. `--write` puts them into the recipe's `[measured]`.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes"

Estimate = tuple[float, float]  # value and standard error
Metrics = dict[str, Estimate]


def run_recipes(
    names: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME ...")],
    out: Path = Path("runs/recipes"),
    write: bool = False,
) -> int:
    """Run recipes, and print the metrics of their evaluations.

    Args:
        names: recipes, by the name of their file
        out: folder in which each recipe has a folder for its runs; commands that finished there
            are not run again
        write: write the metrics, date, commit and machine to the recipe
    """
    for name in names:
        recipe = tomllib.loads((RECIPES / f"{name}.toml").read_text("utf-8"))
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        seconds = [run_command(line, folder) for line in recipe["commands"]]
        text = format_measured(describe_run(seconds), read_metrics(folder))
        print(f"\n{name}\n\n{text}", flush=True)
        if write:
            write_measured(RECIPES / f"{name}.toml", text)
    return 0


def run_command(line: str, folder: Path) -> float:
    """Run a command of a recipe in `folder`, and return its seconds, also if it ran before.

    Raises RuntimeError if it fails.
    """
    done = folder / "commands.json"
    finished: dict[str, float] = json.loads(done.read_text("utf-8")) if done.is_file() else {}
    if line in finished:
        return finished[line]
    print(f"$ {line}", flush=True)
    program, *arguments = shlex.split(line)
    assert program == "pinxit"
    start = time.perf_counter()
    process = subprocess.run([sys.executable, "-m", "pinxit.cli", *arguments], cwd=folder)
    if process.returncode:
        raise RuntimeError(f"{line} failed with exit code {process.returncode}.")
    finished[line] = round(time.perf_counter() - start, 1)
    done.write_text(json.dumps(finished, indent=2), "utf-8")
    return finished[line]


def describe_run(seconds: Sequence[float]) -> dict[str, Any]:
    """Return machine, date, commit and the minutes of all commands."""
    from benchmarks.measure import machine

    environment = machine()
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{environment['processor']}, {'one core' if cores == 1 else f'{cores} cores'}",
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "minutes": round(sum(seconds) / 60, 1),
    }


def read_metrics(folder: Path) -> dict[str, Metrics]:
    """Return the metrics of every evaluation in a folder of runs, by `runs/NAME, SPLIT`."""
    measured = {}
    for file in sorted(folder.glob("runs/*/evaluation*.json")):
        record = json.loads(file.read_text("utf-8"))
        split = record["protocol"].get("split", "test")
        measured[f"{file.parent.relative_to(folder)}, {split}"] = dict(pair_errors(record))
    return measured


def pair_errors(record: Mapping[str, Any]) -> Iterator[tuple[str, Estimate]]:
    """Yield each metric of an evaluation that has a standard error, with it."""
    metrics = record["metrics"]
    for name, value in metrics.items():
        if (error := metrics.get(f"{name}_error")) is not None:
            yield name, (value, error)


def format_measured(run: Mapping[str, Any], measured: Mapping[str, Metrics]) -> str:
    """Return the `[measured]` tables of a recipe, as TOML."""
    lines = ["[measured]", *(f"{key} = {json.dumps(value)}" for key, value in run.items())]
    for run_and_split, metrics in measured.items():
        lines += ["", f"[measured.{json.dumps(run_and_split)}]  # value, standard error"]
        lines += [
            f"{json.dumps(name)} = [{value:.5g}, {error:.2g}]"
            for name, (value, error) in metrics.items()
        ]
    return "\n".join(lines) + "\n"


def write_measured(path: Path, text: str) -> None:
    """Replace the `[measured]` tables of a recipe, or append them."""
    before = path.read_text("utf-8").partition("\n[measured]")[0].rstrip("\n")
    path.write_text(f"{before}\n\n{text}", "utf-8")


if __name__ == "__main__":
    sys.exit(tyro.cli(run_recipes, prog="python -m benchmarks.recipe"))
