"""From a fresh process to an answer."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import PINXIT, seconds_of
from benchmarks.tables import Table, median

STEPS = 1_000  # of training on the digits: about 50 epochs


def startup(quick: bool) -> Iterator[Table]:
    """Two tables: processes that must answer at once, and a training on the embedded digits."""
    times = 3 if quick else 11
    python = sys.executable
    commands = {
        "python that does nothing": (python, "-c", ""),
        "import pinxit": (python, "-c", "import pinxit"),
        "pinxit --help": (*PINXIT, "--help"),
        "pinxit train vae --help": (*PINXIT, "train", "vae", "--help"),
        "pinxit sources": (*PINXIT, "sources"),
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            found[name].append(seconds_of(command))
    yield Table(
        "Seconds of a fresh process (must: 0.5; goal: 0.1)",
        ("process", "median", "fastest"),
        tuple((name, median(each), min(each)) for name, each in found.items()),
    )
    steps = 50 if quick else STEPS
    runs = [_digits(steps, Path(folder)) for folder in _folders(1 if quick else 3)]
    columns = list(zip(*runs, strict=True))
    yield Table(
        f"Seconds from `pinxit train vae digits --steps {steps}` (must: 30; goal: 10)",
        ("to", "median"),
        (
            ("the first sample grid", median(columns[0])),
            ("the last sample grid", median(columns[1])),
            ("the end of the process", median(columns[2])),
        ),
        ("An empty cache of images; no report.",),
    )


def _folders(times: int) -> Iterator[str]:
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def _digits(steps: int, folder: Path) -> tuple[float, float, float]:
    """Seconds from the start to the first grid, to the last one, to the end."""
    out = folder / "run"
    begun = time.time()
    seconds = seconds_of(
        [*PINXIT, "train", "vae", "digits", "--steps", str(steps), "--no-report", "-o", str(out)],
        {"PINXIT_CACHE": str(folder / "cache")},
    )
    written = sorted(grid.stat().st_mtime - begun for grid in out.glob("samples/step-*.png"))
    return written[0], written[-1], seconds
