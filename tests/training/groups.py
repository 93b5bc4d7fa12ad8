"""Trainings by several processes, forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "torch",
        "torch._dynamo",
        "lightning_fabric",
        "torch.distributed.fsdp",
        "tests.training.groups",
    ]
)

# of all tests here; the loss of a batch does not depend on how it is divided
SETTINGS: dict[str, Any] = {
    "precision": "fp32",
    "num_evals": 1,
    "warmup_steps": 2,
    "quiet": True,
    "tensorboard": False,
    "device": "cpu",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What torchrun gives a process on one machine."""
    names = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": rank}
    names |= {"LOCAL_WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in names.items()}


def run_rank(target: Any, variables: dict[str, str], log: str, args: tuple[Any, ...]) -> None:
    """Call `target(*args)` as one process of a group, with its output in a file."""
    import torch

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 2)
    os.environ.update(variables)
    torch.set_num_threads(1)
    target(*args)


def run_group(
    target: Any, args: tuple[Any, ...], folder: Path, world_size: int = 2
) -> list[int | None]:
    """Call `target(*args)` in each process of a group; returns their exit codes."""
    port = free_port()
    processes = []
    for rank in range(world_size):
        log = str(folder / f"log-{rank}.txt")
        variables = environment(rank, world_size, port)
        if world_size == 1:
            variables = {}
        process = FORKS.Process(target=run_rank, args=(target, variables, log, args))
        process.start()
        processes.append(process)
    for process in processes:
        process.join(120)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in processes]


def train(config: Any, images: Any, out: str, settings: dict[str, Any]) -> None:
    import pinxit

    pinxit.train(config, images, out=out, **{**SETTINGS, **settings})


def resume(run: str, images: Any, settings: dict[str, Any]) -> None:
    import pinxit

    pinxit.resume(run, images, quiet=True, **settings)


def logs(folder: Path) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.glob("log-*.txt")))


def train_all(jobs: list[tuple[Any, Any, str, dict[str, Any]]]) -> None:
    """Train one run after another in the same group."""
    for job in jobs:
        train(*job)
