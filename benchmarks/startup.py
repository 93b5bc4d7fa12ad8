"""Start-up times, and the time of a short training run as a fresh process."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import PINXIT, seconds_of
from benchmarks.tables import Table, median

STEPS = 1_000  # of training on digits: about 50 epochs


def startup(quick: bool) -> Iterator[Table]:
    """Yield two tables: processes that should start at once, and a training run on digits."""
    repeats = 3 if quick else 11
    python = sys.executable
    commands = {
        "empty python process": (python, "-c", ""),
        "import pinxit": (python, "-c", "import pinxit"),
        "pinxit --help": (*PINXIT, "--help"),
        "pinxit train vae --help": (*PINXIT, "train", "vae", "--help"),
        "pinxit sources": (*PINXIT, "sources"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            seconds[name].append(seconds_of(command))
    yield Table(
        "Seconds of a fresh process (must: 0.5; goal: 0.1)",
        ("process", "median", "fastest"),
        tuple((name, median(times), min(times)) for name, times in seconds.items()),
    )
    steps = 50 if quick else STEPS
    runs = [_train_digits(steps, Path(folder)) for folder in _temporary_folders(1 if quick else 3)]
    columns = list(zip(*runs, strict=True))
    yield Table(
        f"Seconds from `pinxit train vae digits --steps {steps}` (must: 30; goal: 10)",
        ("to", "median"),
        (
            ("the first sample grid", median(columns[0])),
            ("the last sample grid", median(columns[1])),
            ("the end of the process", median(columns[2])),
        ),
        ("Empty image cache, no report.",),
    )


def _temporary_folders(count: int) -> Iterator[str]:
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def _train_digits(steps: int, folder: Path) -> tuple[float, float, float]:
    """Train on digits; returns the seconds to the first grid, to the last one and to the end."""
    out = folder / "run"
    start = time.time()
    seconds = seconds_of(
        [*PINXIT, "train", "vae", "digits", "--steps", str(steps), "--no-report", "-o", str(out)],
        {"PINXIT_CACHE": str(folder / "cache")},
    )
    times = sorted(grid.stat().st_mtime - start for grid in out.glob("samples/step-*.png"))
    return times[0], times[-1], seconds
