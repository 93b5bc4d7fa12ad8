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
        process.join(240)
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


def disagree(images: Any, out: str) -> None:
    """Start a training that the second process was started for with other options."""
    rank = int(os.environ["RANK"])
    import pinxit

    settings = {**SETTINGS, "steps": 2, "batch_size": 8 + rank}
    call_as_command(lambda: pinxit.train("vae", images, out=out, **settings))


def train_on_other_images(images: list[Any], out: str) -> None:
    rank = int(os.environ["RANK"])
    import pinxit

    settings = {**SETTINGS, "steps": 2}
    call_as_command(lambda: pinxit.train("vae", images[rank], out=out, **settings))


def resolve_precisions(folder: str) -> None:
    """Write the precision of each process, whose measurements differ, to a file."""
    from pinxit.training import devices
    from pinxit.training.processes import join_processes
    from pinxit.training.settings import TrainingSettings

    rank = int(os.environ["RANK"])
    devices.measure_precision = lambda *_: ("bf16", "fp32")[rank]  # type: ignore[assignment]
    settings = TrainingSettings(device="cpu")
    join_processes(settings)
    (Path(folder) / str(rank)).write_text(devices.resolve_precision(settings))


def lose_a_process(images: Any, out: str, lost: int) -> None:
    """Train; process number `lost` is killed after some steps."""
    import signal

    import pinxit
    from pinxit.training import session

    measure = session.Session.measure_progress

    def measure_and_die(self: Any, counters: Any) -> float:
        if counters.step == 5 and os.environ["RANK"] == str(lost):
            os.kill(os.getpid(), signal.SIGKILL)
        return measure(self, counters)

    session.Session.measure_progress = measure_and_die  # type: ignore[method-assign]
    config = pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1)
    settings = {**SETTINGS, "steps": 50, "checkpoint_seconds": 0, "batch_size": 8}
    call_as_command(lambda: pinxit.train(config, images, out=out, **settings))


def call_as_command(call: Any) -> None:
    """Print errors and exit as the command line does."""
    import sys

    from pinxit.errors import PinxitError
    from pinxit.training.launcher import leave_if_lost

    try:
        call()
    except PinxitError as error:
        print(f"pinxit: {error}", file=sys.stderr, flush=True)
        leave_if_lost(error)
        sys.exit(error.exit_code)


def report_environment(folder: str) -> None:
    from pinxit.training.processes import join_processes
    from pinxit.training.settings import TrainingSettings

    processes = join_processes(TrainingSettings(device="cpu"))
    total = sum(processes.gather(processes.rank + 1))
    (Path(folder) / str(processes.rank)).write_text(
        f"{processes.local_rank} {processes.num_nodes} {total}"
    )
