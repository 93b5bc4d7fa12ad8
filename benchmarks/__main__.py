"""`python -m benchmarks NAME ... [--quick] [--json FILE]`"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

PARTS = {
    "startup": "from a fresh process to the first result",
    "throughput": "training, as a fraction of the machine's matrix-product rate",
    "scaling": "two processes on two cores over one on one core",
    "likelihood": "10,000 test images with 5,000 importance samples each",
    "masking": "masked autoencoder: a training step against all patches and transformers",
    "languages": "captions of new combinations of known words, in four languages",
    "generation": "iGPT: tokens per second against transformers and its matrix products",
    "drawing": "text to image: one image, and many at once",
    "serve": "the server on loopback: overhead of the API, batching, overload, memory, kills",
    "streams": "memory of training and embedding on a stream, 10,000 and 1,000,000 images",
    "scale": "one node of this machine, and the plan for 100 million images",
    "studio": "the studio in Chromium: time to the first image (needs Chromium)",
    "peers": "Fashion-MNIST against pythae (needs the extra `benchmark`)",
    "vaes": "Fashion-MNIST: VAEs of pinxit and pythae after the same minutes: an hour",
    "blur": "VAEs: variances, priors and sharpening losses after the same steps: an hour and more",
    "samples": "Frechet distances beside diffusers, denoising_diffusion_pytorch and pythae: hours",
}
OPTIONS = {"vaes": ("minutes",), "blur": ("data", "minutes")}
HOURS = {"samples", "blur", "vaes"}  # only if named, or with --quick


def benchmarks(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME ...]")] = (),
    quick: bool = False,
    data: tuple[str, ...] = (),
    minutes: float | None = None,
    json_file: Annotated[Path | None, arg(name="json")] = None,
) -> int:
    """Measure pinxit and its peers on this machine.

    Args:
        names: startup, throughput, scaling, likelihood, masking, languages, generation, drawing,
            serve, streams, scale, studio, peers, vaes, blur or samples (default: all but the last
            three, which take hours; with --quick all)
        quick: run each benchmark in less than a minute; the numbers are not meaningful
        data: of blur: data sets (default: mnist and fashion-mnist)
        minutes: of blur and vaes: training of each run (default: 10 and 3)
        json_file: also write all tables to this file
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch is imported, as in the commands
    from benchmarks.measure import machine
    from pinxit.data.atomic_write import write_atomically
    from pinxit.errors import PinxitError, UsageError, did_you_mean

    try:
        for name in names:
            if name not in PARTS:
                known = ", ".join(PARTS)
                raise UsageError(
                    f"no benchmark '{name}'.{did_you_mean(name, PARTS)} Choose from: {known}."
                )
        options = {"data": data or None, "minutes": minutes}
        options = {key: value for key, value in options.items() if value is not None}
        check_options(names, options)
        environment = {**machine(), "quick": quick}
        print(", ".join(f"{key} {value}" for key, value in environment.items()), flush=True)
        tables = {}
        for name in names or select_default(quick):
            start = time.perf_counter()
            benchmark = getattr(importlib.import_module(f"benchmarks.{name}"), name)
            tables[name] = []
            for table in benchmark(quick, **options):
                print(f"\n{table.to_text()}", flush=True)
                tables[name].append(table.to_json())
            print(f"({name} took {time.perf_counter() - start:.0f} s)", flush=True)
    except PinxitError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    if json_file:
        record = {"machine": environment, "tables": tables}
        print(write_atomically(json_file, json.dumps(record, indent=2, ensure_ascii=False)))
    return 0


def check_options(names: tuple[str, ...], options: dict[str, object]) -> None:
    """Raise UsageError for an option that the named benchmarks do not have."""
    from pinxit.errors import UsageError

    for option in options:
        if not names or not all(option in OPTIONS.get(name, ()) for name in names):
            owners = " and ".join(name for name, known in OPTIONS.items() if option in known)
            raise UsageError(f"--{option} is an option of {owners}, which are to be named.")


def select_default(quick: bool) -> list[str]:
    """Return the names of the benchmarks that run if none is named."""
    return [name for name in PARTS if quick or name not in HOURS]


if __name__ == "__main__":
    sys.exit(tyro.cli(benchmarks, prog="python -m benchmarks"))
