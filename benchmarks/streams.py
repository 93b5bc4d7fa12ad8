"""Memory of training on a stream, and of embedding it, as its number of images grows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.tables import Table

PER_SHARD = 1_000
SIZES = (10_000, 1_000_000)
QUICK_SIZES = (2_000, 20_000)
BATCH = 512

PROGRAM = """
import json, resource, sys, time
from pinxit.cli import main
start = time.perf_counter()
code = main(json.loads(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"code": code, "peak": peak, "seconds": time.perf_counter() - start}))
"""


def streams(quick: bool) -> Iterator[Table]:
    """Yield the peak memory of a training of one epoch and of `embed`, by number of images."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in QUICK_SIZES if quick else SIZES:
            shards = write_shards(Path(folder) / str(size), size, min(PER_SHARD, size))
            for command, (peak, seconds) in measure(shards, Path(folder)).items():
                rows.append((command, size, peak / 2**20, seconds))
    smallest, largest = min(row[1] for row in rows), max(row[1] for row in rows)
    peaks = {(command, size): peak for command, size, peak, _ in rows}
    compared = [
        (
            command,
            float(size),
            peak,
            seconds,
            f"{peaks[command, largest] / peaks[command, smallest]:.3f} x"
            if size == largest
            else "",
        )
        for command, size, peak, seconds in sorted(rows)
    ]
    yield Table(
        "Peak memory on a stream (must: 1.1 x; goal: 1.02 x)",
        ("command", "images", "MiB", "seconds", "over the smallest"),
        tuple(compared),
    )


def write_shards(folder: Path, count: int, per_shard: int) -> Path:
    """Write a shard of random images of 8 x 8, and as many links to it as there are shards."""
    folder.mkdir()
    first = folder / "00000.tar"
    with tarfile.open(first, "w") as tar:
        for i in range(per_shard):
            pixels = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
            with io.BytesIO() as file:
                Image.fromarray(pixels).save(file, "PNG")
                member = tarfile.TarInfo(f"{i:06d}.png")
                member.size = file.tell()
                file.seek(0)
                tar.addfile(member, file)
    for k in range(1, count // per_shard):
        os.link(first, folder / f"{k:05d}.tar")
    return folder


def measure(shards: Path, folder: Path) -> dict[str, tuple[int, float]]:
    """Return bytes of peak memory and seconds of an epoch of training, and of embedding all."""
    run = folder / f"run-{shards.name}"
    train = ["train", "vae", str(shards), "--stream", "on", "--epochs", "1", "--out", str(run)]
    train += ["--network", "mlp", "--width", "32", "--depth", "1", "--latent-dim", "4"]
    train += ["--batch-size", str(BATCH), "--num-evals", "2", "--no-report", "--quiet"]
    train += ["--precision", "fp32"]
    embed = ["embed", str(run), "--out", str(folder / f"{shards.name}.parquet"), "--quiet"]
    environment = {**os.environ, "PINXIT_CACHE": str(folder / "cache")}
    return {
        "train": run_measured(train, environment),
        "embed": run_measured(embed, environment),
    }


def run_measured(command: list[str], environment: dict[str, str]) -> tuple[int, float]:
    """Run `pinxit ...` in a process of its own; return its peak memory and seconds."""
    start = time.perf_counter()
    words = [sys.executable, "-c", PROGRAM, json.dumps(command)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    record = json.loads(done.stdout.splitlines()[-1])
    if record["code"]:
        raise RuntimeError(done.stderr)
    return record["peak"], time.perf_counter() - start
