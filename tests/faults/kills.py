"""Kill pinxit with SIGKILL at random moments, in every phase, and see that nothing is lost.

A trial starts a command, kills it, and starts the same command again, a few times over; then it
lets it end and compares the result with that of an uninterrupted one. Processes are forked from one
that has imported everything already, so that starting one takes milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.forked import FORKS, run_pinxit

FORKS.set_forkserver_preload(
    [
        *("torch", "torch._dynamo", "lightning_fabric", "sklearn.datasets", "pinxit.cli.train"),
        *("pinxit.training.session", "pinxit.models.vae.model", "pinxit.evaluation.runner"),
        *("pinxit.reports.page", "pinxit.reports.context", "pinxit.serve.app", "uvicorn"),
    ]
)

# small models of all families, each with its default optimizer
MODELS = {
    "vae": ["--width", "16", "--depth", "1"],
    "vae-grid": ["--latents", "grid", "--width", "8"],
    "mae": ["--width", "16", "--depth", "1"],
    "tokenizer": ["--width", "8", "--depth", "1"],
    "tokenizer-vq": ["--width", "8", "--depth", "1", "--quantizer", "vq"],
    "igpt": ["--width", "16", "--depth", "1", "--palette-size", "8", "--patch-size", "2"],
    "seq2seq-draw": [
        *("--width", "16", "--depth", "1", "--decoder-depth", "1"),
        *("--palette-size", "8", "--palette-patch-size", "4"),
    ],
    "seq2seq-caption": [
        *("--source", "image", "--target", "text"),
        *("--width", "16", "--depth", "1", "--decoder-depth", "1"),
    ],
    "flow": ["--width", "16", "--depth", "1", "--heads", "1", "--text-depth", "1"],
}
STEPS = 24
PATIENCE_SECONDS = 600.0  # after which a command hangs


@dataclass
class Trial:
    """One command that is killed and run again in a folder of its own."""

    phase: str
    args: list[str]
    result: Callable[[Path], object]  # of the folder, to compare with that of the uninterrupted one
    folder: Path
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "log.txt"

    def start(self) -> BaseProcess:
        args = [arg.replace("FOLDER", str(self.folder)) for arg in self.args]
        target = (args, str(self.log), str(self.folder / "cache"))
        process = FORKS.Process(target=run_pinxit, args=target)
        process.start()
        return process

    def run_to_end(self) -> float:
        """Run the command to its end; returns its seconds."""
        start = time.monotonic()
        process = self.start()
        process.join(PATIENCE_SECONDS)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"{self.phase} hangs:\n{self.tail()}")
        assert process.exitcode == 0, f"{self.phase} ends with {process.exitcode}:\n{self.tail()}"
        return time.monotonic() - start

    def kill_after(self, seconds: float) -> bool:
        """Run the command and kill it after some seconds; returns whether it was still running.

        A command that ends before that must have ended well.
        """
        process = self.start()
        process.join(seconds)
        running = process.exitcode is None
        process.kill()
        process.join()
        assert running or process.exitcode == 0, f"{self.phase} after a kill:\n{self.tail()}"
        return running

    def tail(self) -> str:
        text = self.log.read_text() if self.log.is_file() else ""
        return f"{' '.join(self.args)}\n{text[-3000:]}"


def training_trial(model: str, data: str, folder: Path) -> Trial:
    """Training of a model with its data decoded anew: also the cache is killed while it grows."""
    family = model.split("-")[0]
    steps = ["--steps", str(STEPS), "--batch-size", "8", "--num-evals", "3"]
    args = ["train", family, data, *MODELS[model], *steps, "--checkpoint-seconds", "0"]
    args += ["--no-report", "--precision", "fp32", "--out", "FOLDER/run", "--resume-or-start"]
    return Trial(model, args, hash_run, folder)


def cache_trial(data: str, folder: Path) -> Trial:
    args = ["look", data, "--out", "FOLDER/sheet.png"]
    return Trial("cache", args, lambda path: hash_file(path / "sheet.png"), folder)


def evaluate_trial(run: Path, folder: Path) -> Trial:
    shutil.copytree(run, folder / "run", dirs_exist_ok=True)
    args = ["evaluate", "FOLDER/run", "--no-distances", "--iw-samples", "4"]
    return Trial("evaluate", args, read_metrics, folder)


def report_trial(run: Path, folder: Path) -> Trial:
    shutil.copytree(run, folder / "run", dirs_exist_ok=True)
    args = ["report", "FOLDER/run"]
    return Trial("report", args, lambda path: (path / "run/report.html").is_file(), folder)


def map_trial(run: Path, data: str, folder: Path) -> Trial:
    args = ["map", "embed", str(run), data, "--out", "FOLDER/out", "--block-size", "5"]
    return Trial("map", args, lambda path: hash_folder(path / "out", "*.parquet"), folder)


def sample_trial(run: Path, folder: Path) -> Trial:
    args = ["sample", str(run), "-n", "90", "--out", "FOLDER/out", "--shard-size", "8"]
    return Trial("sample", args, lambda path: hash_folder(path / "out", "*.[tj]*"), folder)


def shard_trial(data: str, folder: Path) -> Trial:
    args = ["shard", data, "FOLDER/out", "--per-shard", "3"]
    return Trial("shard", args, lambda path: hash_folder(path / "out", "*.[tj]*"), folder)


def hash_folder(folder: Path, pattern: str) -> dict[str, str]:
    """Return a hash of each file; there must be nothing half-written."""
    assert not list(folder.glob(".*.part"))
    return {path.name: hash_file(path) for path in sorted(folder.glob(pattern))}


def hash_file(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def hash_run(folder: Path) -> tuple[str, list[str], list[str], bool]:
    """Return the weights, the curves without their seconds, and what is in the folder."""
    from pinxit.runs import Run

    run = Run(folder / "run")
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics()]
    names = sorted(
        str(path.relative_to(run.path))
        for path in run.path.rglob("*")
        if not path.name.startswith((".lock", "events.out"))
    )
    beside = [path.name for path in folder.iterdir() if path.name.endswith(".part")]
    return hash_file(run.weights_path), [json.dumps(row) for row in rows], names + beside, True


def read_metrics(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "run/evaluation.json").read_text())["metrics"])


def survive(trial: Trial, expected: object, seconds: float, kills: int, rng: random.Random) -> int:
    """Kill a command some times, run it to its end, compare, and return the number of kills.

    `seconds` is what an uninterrupted one takes.
    """
    count = 0
    for _ in range(kills):
        # half of the moments are in the first fifth: folders and caches are made there
        share = rng.uniform(0, 0.2) if rng.random() < 0.5 else rng.uniform(0, 1)
        count += trial.kill_after(share * seconds)
    trial.run_to_end()
    found = trial.result(trial.folder)
    assert found == expected, f"{trial.phase} differs after {count} kills:\n{trial.tail()}"
    return count
