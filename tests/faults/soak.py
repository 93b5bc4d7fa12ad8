"""The long tests of faults: `python -m tests.faults.soak kills --count 300`, or `make soak`.

Each line that is printed is a trial; the last ones are the totals. Exit code 1 if any trial fails;
its folder is then left for inspection.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.faults import kills

DATA = "shapes:48"
KILLS_A_TRIAL = 4
OF_A_RUN = ("evaluate", "report", "map", "sample")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["kills", "inputs", "runs"])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phases", default="", help="some of the phases, separated by commas")
    args = parser.parse_args()
    if args.what == "kills":
        return soak_kills(args.count, args.seed, [p for p in args.phases.split(",") if p])
    from tests.faults import mutations

    soak = mutations.soak_inputs if args.what == "inputs" else mutations.soak_runs
    return soak(args.count, args.seed)


def soak_kills(count: int, seed: int, phases: list[str]) -> int:
    """Kill every phase in turn until there were enough kills; returns the exit code."""
    rng, root = random.Random(seed), Path(tempfile.mkdtemp(prefix="pinxit-soak-"))
    killed: Counter[str] = Counter()
    failures = 0
    for trial, expected, seconds in make_trials(root, phases):
        if sum(killed.values()) >= count:
            break
        start = time.monotonic()
        try:
            killed[trial.phase] += kills.survive(trial, expected, seconds, KILLS_A_TRIAL, rng)
        except AssertionError as error:
            failures += 1
            print(f"FAILED {trial.phase} in {trial.folder}: {error}", flush=True)
            continue
        shutil.rmtree(trial.folder)
        total = sum(killed.values())
        print(f"{total} {trial.phase} {time.monotonic() - start:.0f} s", flush=True)
    for phase, number in sorted(killed.items()):
        print(f"{phase}: {number} kills survived")
    print(f"total: {sum(killed.values())} kills survived, {failures} trials failed")
    return 1 if failures else 0


def make_trials(root: Path, phases: list[str]) -> Iterator[tuple[kills.Trial, object, float]]:
    """Yield trials of all phases in turn, with the result and the seconds of an uninterrupted one.

    The uninterrupted ones run first, each twice: the first fills the file system's memory.
    """
    base = root / "base"
    known: dict[str, tuple[object, float]] = {}
    for number in itertools.count():
        for phase in [*kills.MODELS, "cache", "shard", *OF_A_RUN]:
            if phases and phase not in phases:
                continue
            if phase not in known:
                if phase in OF_A_RUN and not (base / "vae/run").is_dir():
                    kills.training_trial("vae", DATA, base / "vae").run_to_end()
                whole = make_trial(phase, base, base / phase)
                seconds = whole.run_to_end()
                known[phase] = (whole.result(whole.folder), seconds)
                print(f"uninterrupted {phase}: {seconds:.1f} s", flush=True)
            yield make_trial(phase, base, root / f"{phase}-{number}"), *known[phase]


def make_trial(phase: str, base: Path, folder: Path) -> kills.Trial:
    if phase == "cache":
        return kills.cache_trial(DATA, folder)
    if phase == "shard":
        return kills.shard_trial(DATA, folder)
    if phase == "evaluate":
        return kills.evaluate_trial(base / "vae/run", folder)
    if phase == "report":
        return kills.report_trial(base / "vae/run", folder)
    if phase == "map":
        return kills.map_trial(base / "vae/run", DATA, folder)
    if phase == "sample":
        return kills.sample_trial(base / "vae/run", folder)
    return kills.training_trial(phase, DATA, folder)


if __name__ == "__main__":
    sys.exit(main())
