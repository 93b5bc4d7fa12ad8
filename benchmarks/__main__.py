"""`python -m benchmarks NAME ... [--quick] [--json FILE]`"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

PARTS = {
    "startup": "from a fresh process to an answer",
    "throughput": "training, as a share of the machine's matrix products",
    "likelihood": "10,000 test images by 5,000 importance samples each",
    "masked": "masked autoencoder: a step, beside all patches and beside transformers",
    "generation": "iGPT: tokens a second, beside transformers and beside its products",
    "drawing": "an image from words: one, and many together",
    "serve": "the server on loopback: what the API adds, batching, overload, memory, kills",
    "peers": "Fashion-MNIST beside pythae (needs the extra `benchmark`)",
}


def benchmarks(
    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME ...]")] = (),
    quick: bool = False,
    json_file: Annotated[Path | None, arg(name="json")] = None,
) -> int:
    """Measure this machine, ours and peers; without names, all parts.

    Args:
        names: startup, throughput, likelihood, masked, generation, drawing, serve, peers
        quick: a try of each part, in less than a minute: no result
        json_file: write all tables there as well
    """
    from benchmarks.measure import machine
    from pinxit.data.atomic_write import write_atomically
    from pinxit.errors import PinxitError, UsageError, did_you_mean

    try:
        for name in names:
            if name not in PARTS:
                known = ", ".join(PARTS)
                raise UsageError(
                    f"no part '{name}'; there are: {known}.{did_you_mean(name, PARTS)}"
                )
        facts = {**machine(), "quick": quick}
        print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
        found = {}
        for name in names or PARTS:
            start = time.perf_counter()
            part = getattr(importlib.import_module(f"benchmarks.{name}"), name)
            found[name] = []
            for table in part(quick):
                print(f"\n{table.to_text()}", flush=True)
                found[name].append(table.to_json())
            print(f"({name} took {time.perf_counter() - start:.0f} s)", flush=True)
    except PinxitError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    if json_file:
        record = {"machine": facts, "tables": found}
        print(write_atomically(json_file, json.dumps(record, indent=2, ensure_ascii=False)))
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(benchmarks, prog="python -m benchmarks"))
