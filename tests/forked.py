"""`pinxit ...` as a process, forked from one that has imported everything already.

Starting one then takes milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

FORKS = multiprocessing.get_context("forkserver")


def run_pinxit(args: list[str], log: str, cache: str | None = None) -> None:
    """Run `pinxit ...` in this process, which it ends, with its output in a file."""
    from pinxit.cli import main

    if cache is not None:
        os.environ["PINXIT_CACHE"] = cache
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    sys.argv = ["pinxit", *args]
    import torch

    torch.set_num_threads(1)
    code = main(args)
    sys.stdout.flush()
    os._exit(code)
