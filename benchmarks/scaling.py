"""How much faster two processes on two cores train than one process on one core."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.measure import PINXIT
from benchmarks.tables import Table

MODEL = ("igpt", "digits", "--batch-size", "64", "--precision", "fp32", "--device", "cpu")
QUIET = ("--num-evals", "1", "--checkpoint-seconds", "10000", "--no-report", "--quiet")


@dataclass(frozen=True)
class Seconds:
    """Of the clock, and of the CPU in each process."""

    wall: float
    cpu: float


def scaling(quick: bool) -> Iterator[Table]:
    """Yield the ratio of steps per second.

    Trainings of two lengths are timed: their difference leaves out start and end.
    """
    repeats, steps = (1, 5) if quick else (5, 60)
    pairs = [(_time_step(1, steps), _time_step(2, steps)) for _ in range(repeats)]
    wall = [one.wall / two.wall for one, two in pairs]
    cpu = [one.cpu / two.cpu for one, two in pairs]
    yield Table(
        "Two processes on two cores over one on one core (must: 1.7; goal: 1.9)",
        ("measured by", "ratio", "standard error"),
        (("the clock", *_mean(wall)), ("CPU time of a process", *_mean(cpu))),
        (
            f"{' '.join(MODEL)}; {repeats} pairs, load of the machine {os.getloadavg()[1]:.1f}.",
            "Ratios by the clock hold for an idle machine. CPU time leaves out waiting for the "
            "other process: an upper bound.",
        ),
    )


def _mean(ratios: list[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error."""
    error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else None
    return statistics.mean(ratios), error


def _time_step(num_processes: int, steps: int) -> Seconds:
    """Return the seconds of a step: of a training of three times the length, less a short one."""
    short, long = _run_training(num_processes, steps), _run_training(num_processes, 3 * steps)
    count = 2 * steps
    return Seconds((long.wall - short.wall) / count, (long.cpu - short.cpu) / count)


def _run_training(num_processes: int, steps: int) -> Seconds:
    """Train for so many steps; returns the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*PINXIT, "train", *MODEL, *QUIET, "--steps", str(steps), "--out", folder]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [*command, "--devices", str(num_processes)],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=_pin_to(num_processes),
            stdout=subprocess.DEVNULL,
        )
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(wall, cpu / num_processes)


def _pin_to(num_cores: int) -> Callable[[], None]:
    """Return a function that binds the process that calls it to so many cores."""
    cores = sorted(os.sched_getaffinity(0))[:num_cores]
    return lambda: os.sched_setaffinity(0, cores)
