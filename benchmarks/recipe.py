"""`python -m benchmarks.recipe NAME ... [--write]`: run recipes, and record what they measured.

Runs each command of `recipes/NAME.toml` in a folder of its own, and prints the metrics of every
evaluation with their standard errors. `--write` puts them into the recipe's `[measured]`.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from pinxit.cli.recipe import Metrics, read_metrics, read_recipe, recipe_file, run_command

ROOT = Path(__file__).parent.parent


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
        folder = out / name
        seconds = [run_command(line, folder) for line in read_recipe(name)["commands"]]
        text = format_measured(describe_run(seconds), read_metrics(folder))
        print(f"\n{name}\n\n{text}", flush=True)
        if write:
            write_measured(recipe_file(name), text)
    return 0


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
