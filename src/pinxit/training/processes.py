"""The processes of one training: which one this is, and what they tell each other.

A launcher says it in environment variables: `pinxit train --devices N`, `torchrun`, Slurm's `srun`,
or Fabric's launcher of Python scripts. Imports no torch before processes are joined.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pinxit.data.atomic_write import write_atomically
from pinxit.errors import PinxitError, UsageError

if TYPE_CHECKING:
    from pinxit.training.settings import TrainingSettings

T = TypeVar("T")

JOIN_MINUTES = 10  # that processes wait for each other at the start
COLLECTIVE_MINUTES = 60  # that they wait for a process that is alive, which loads images or writes
LAUNCHER_FOLDER = "PINXIT_LAUNCHER_FOLDER"  # set by the launcher of `pinxit train --devices`
RUN_FILE = "run"  # in that folder: the path of the run, once there is one


class LostProcessError(PinxitError):
    """Another process of this training has ended."""


@dataclass(frozen=True)
class Failure:
    """What processes receive in place of a value: another one has failed, and has said why."""

    exit_code: int


@dataclass(frozen=True)
class Processes:
    """The processes of a training, of which this is one; torch.distributed connects them."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the main process, which writes the files."""
        return self.rank == 0

    @property
    def num_nodes(self) -> int:
        return self.world_size // self.local_world_size

    def gather(self, value: T) -> list[T]:
        """Return the value of each process, in every process."""
        if self.world_size == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.world_size
        distributed.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """Return the main process's value in every process.

        Raises SystemExit in the others if the main one has failed.
        """
        if self.world_size == 1:
            return value
        from torch import distributed

        values: list[Any] = [value]
        distributed.broadcast_object_list(values, 0)
        received: Any = values[0]
        if isinstance(received, Failure) and not self.is_global_zero:
            raise SystemExit(received.exit_code)
        return values[0]

    def barrier(self) -> None:
        """Wait for the main process. Raises SystemExit in the others if it has failed."""
        self.broadcast(None)

    @contextmanager
    def main_may_fail(self) -> Iterator[None]:
        """End the other processes, which wait for a broadcast, with an error of the main one."""
        try:
            yield
        except PinxitError as error:
            if self.is_global_zero and self.world_size > 1:
                self.broadcast(Failure(error.exit_code))
            raise

    def each(self, make: Callable[[], T]) -> T:
        """Call a function in every process: first in one of each machine, which fills its caches.

        If it raises PinxitError, all processes end: the first with an error raises it.
        """
        if self.world_size == 1:
            return make()
        result = self._attempt(make if self.local_rank == 0 else None)
        other = self._attempt(make if self.local_rank else None)
        return result if self.local_rank == 0 else other  # type: ignore[return-value]

    def together(self, make: Callable[[], T]) -> T:
        """Call a function in every process at once; an error of all is raised in the first one."""
        if self.world_size == 1:
            return make()
        return self._attempt(make)  # type: ignore[return-value]

    def _attempt(self, make: Callable[[], T] | None) -> T | None:
        result, error = None, None
        try:
            result = make() if make is not None else None
        except PinxitError as raised:
            error = raised
        failures = self.gather(None if error is None else Failure(error.exit_code))
        first = next((rank for rank, failure in enumerate(failures) if failure), None)
        if first is None:
            return result
        if error is not None and first == self.rank:
            raise error
        raise SystemExit(failures[first].exit_code)  # type: ignore[union-attr]

    def check_agreement(self, facts: dict[str, Any]) -> None:
        """Raise UsageError in the main process, and end the others, if their facts differ."""
        if self.world_size == 1:
            return
        everyone = self.gather((socket.gethostname(), facts))
        _, main = everyone[0]
        for rank, (host, other) in enumerate(everyone):
            name = next((name for name in main if main[name] != other.get(name)), None)
            if name is None:
                continue
            if not self.is_global_zero:
                raise SystemExit(UsageError.exit_code)
            raise UsageError(
                f"process {rank + 1} of {self.world_size} ({host}) has another {name} than the "
                f"first: {other.get(name)}, not {main[name]}.\n"
                "Start all processes with the same command, code and data."
            )


ALONE = Processes()


def current_processes() -> Processes:
    """Return the processes that have joined; one alone if none have."""
    return _joined[-1] if _joined else ALONE


_joined: list[Processes] = []


def adopt_slurm() -> None:
    """Set torchrun's environment variables in a task of `srun`, where Slurm says the same.

    A batch script itself, which runs once, is no such task.
    """
    get = os.environ.get
    if "RANK" in os.environ or int(get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    world_size = int(os.environ["SLURM_STEP_NUM_TASKS"])
    num_nodes = int(get("SLURM_STEP_NUM_NODES", get("SLURM_NNODES", "1")))
    nodes = get("SLURM_STEP_NODELIST", get("SLURM_NODELIST", "127.0.0.1"))
    job = int(get("SLURM_JOB_ID", "0"))
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(world_size // num_nodes),
        "GROUP_RANK": get("SLURM_NODEID", "0"),
        "MASTER_ADDR": get("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes)),
        "MASTER_PORT": get("MASTER_PORT", str(15000 + job % 10000)),
    }


def is_launched() -> bool:
    """Return whether a launcher has started this process as one of a training."""
    return "WORLD_SIZE" in os.environ


def count_launched() -> dict[str, int]:
    """Return the devices and nodes that a launcher has started; {} without one that says both."""
    try:
        total, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        return {}
    return {"devices": local, "nodes": total // local} if 1 <= local <= total else {}


def join_processes(settings: TrainingSettings) -> Processes:
    """Connect the processes of a training; a single one is not connected.

    Raises UsageError if the launcher started other numbers than the settings say, PinxitError if
    processes are missing.
    """
    if _joined:
        return _joined[-1]
    adopt_slurm()
    if not is_launched():
        if settings.devices * settings.nodes == 1:
            return ALONE
        _launch_scripts(settings)
    processes = _read_environment(settings)
    if processes.world_size > 1:
        _connect(settings, processes)
        _joined.append(processes)
    return processes


def _launch_scripts(settings: TrainingSettings) -> None:
    """Start this Python script again for each further process, with Fabric's launcher."""
    from pinxit.training.accelerators import create_launcher

    create_launcher(settings).launch()


def _read_environment(settings: TrainingSettings) -> Processes:
    """Return the processes of the environment, and complete it for Fabric.

    Fabric's launcher gives no RANK, and MPI-like ones neither LOCAL_RANK nor LOCAL_WORLD_SIZE.
    """
    try:
        world_size = int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        by_script = "RANK" not in os.environ and "NODE_RANK" in os.environ
        default = settings.devices if by_script else 1
        local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", default))
        node = int(os.environ.get("NODE_RANK", "0")) if by_script else 0
        rank = int(os.environ.get("RANK", node * local_world_size + local_rank))
    except ValueError as error:
        raise UsageError(
            f"the launcher's environment is broken ({error}); see docs/cluster.md."
        ) from None
    for name, given, found in (
        ("devices", settings.devices, local_world_size),
        ("nodes", settings.nodes, world_size // local_world_size),
    ):
        if given not in (1, found):
            if rank:
                raise SystemExit(UsageError.exit_code)  # the first one says it
            raise UsageError(
                f"--{name} is {given}, but the launcher started {found}; leave --{name} out."
            )
    completed = {
        "RANK": rank,
        "LOCAL_RANK": local_rank,
        "LOCAL_WORLD_SIZE": local_world_size,
        "GROUP_RANK": rank // local_world_size,
    }
    os.environ |= {name: str(value) for name, value in completed.items()}
    return Processes(rank, world_size, local_rank, local_world_size)


def _connect(settings: TrainingSettings, processes: Processes) -> None:
    import torch
    from torch import distributed

    from pinxit.training.accelerators import check_accelerators, training_device

    if distributed.is_initialized():  # by Fabric's launcher
        return
    device = training_device(settings)
    try:
        check_accelerators(device, processes.local_world_size)
    except UsageError as error:
        if processes.local_rank:
            raise SystemExit(error.exit_code) from None  # the first one of the machine says it
        raise
    if device == "cuda":
        torch.cuda.set_device(processes.local_rank)
        atexit.register(_disconnect)
    try:
        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            rank=processes.rank,
            world_size=processes.world_size,
            timeout=timedelta(minutes=COLLECTIVE_MINUTES),
            store=_find_others(processes, timedelta(minutes=JOIN_MINUTES)),
        )
    except (distributed.DistError, ValueError, KeyError) as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise PinxitError(
            f"process {processes.rank + 1} of {processes.world_size} cannot reach the others at "
            f"{address} ({first_line(error)}).\nStart all of them within {JOIN_MINUTES} minutes, "
            "and see docs/cluster.md."
        ) from None


def _disconnect() -> None:
    """NCCL warns of connections that are not closed."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def _find_others(processes: Processes, timeout: timedelta) -> Any:
    """Return the store through which processes find each other, once all have come."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    rank, world_size = processes.rank, processes.world_size
    store, *_ = next(rendezvous("env://", rank, world_size, timeout=timeout))
    # the prefix of `init_process_group`, which Fabric calls in the script that started the others
    return PrefixStore("default_pg", store)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def explain_lost_process(describe: Callable[[], str]) -> Iterator[None]:
    """Turn the errors of torch.distributed after the end of another process into one of ours.

    `describe` returns how to go on. Raises LostProcessError.
    """
    try:
        yield
    except RuntimeError as error:
        processes = current_processes()
        if processes.world_size == 1 or not _is_connection_error(error):
            raise
        raise LostProcessError(
            f"another process of this training has ended (this is {processes.rank + 1} of "
            f"{processes.world_size}).\n{describe()}"
        ) from None


def _is_connection_error(error: RuntimeError) -> bool:
    from torch import distributed

    text = str(error).lower()
    signs = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "socket")
    return isinstance(error, distributed.DistError) or any(sign in text for sign in signs)


def report_run(path: str) -> None:
    """Say the launcher of `pinxit train --devices` which run is trained."""
    folder = os.environ.get(LAUNCHER_FOLDER)
    if folder and os.environ.get("LOCAL_RANK") == "0":
        write_atomically(Path(folder) / RUN_FILE, os.fsencode(path))
