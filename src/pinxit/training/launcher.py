"""`pinxit train --devices N`: start the processes of a training, and again if one of them dies.

The launcher itself computes nothing and imports no torch. It gives each process the environment
that `torchrun` would, hands signals on, ends all of them if one has ended, and lets the training go
on from its last checkpoint if that one was killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pinxit.console import echo
from pinxit.errors import PinxitError, UsageError
from pinxit.runs import Run
from pinxit.training.accelerators import check_cores
from pinxit.training.processes import (
    LAUNCHER_FOLDER,
    RUN_FILE,
    LostProcessError,
    is_launched,
)
from pinxit.training.settings import TrainingSettings

LIFELINE = "PINXIT_LAUNCHER_PIPE"  # a file descriptor that is closed when the launcher ends
LOST_PROCESS_CODE = 75  # exit code of a process that has lost another one (EX_TEMPFAIL)
MAX_RESTARTS = 3
POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0  # that the others have to end by themselves after one has ended
STOP_SECONDS = 60.0  # that all have to write their checkpoint after SIGTERM

Arguments = Sequence[str]


def needs_launcher(settings: TrainingSettings) -> bool:
    """Return whether the settings want several processes, and nothing has started them yet."""
    if settings.devices * settings.nodes == 1 or is_launched():
        return False
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) < 2


def launch(
    arguments: Arguments, resume: Callable[[Run], Arguments], settings: TrainingSettings
) -> int:
    """Run `pinxit ARGUMENTS` in all processes of this machine and return its exit code.

    `resume` returns the arguments that go on with a run. Raises UsageError if the settings want
    several machines and the environment does not say which of them this is.
    """
    main, run, ended = _main_address(settings), None, ""
    check_cores(settings.device, settings.devices)
    with tempfile.TemporaryDirectory(prefix="pinxit-") as folder:
        for restarts in range(MAX_RESTARTS + 1):
            group = ProcessGroup(arguments, settings, main, Path(folder))
            code = group.run()
            run = read_run(Path(folder))
            if code is not None:
                return code
            ended = f"{group.describe_end()}; the last checkpoint of its training is kept"
            if run is None:
                ended = group.describe_end()
            elif run.config.get("finished"):
                echo(f"pinxit: {group.describe_end()} after the end of the training of {run.path}.")
                return 1
            if restarts < MAX_RESTARTS:
                echo(f"{ended}. Starting again ({restarts + 1} of {MAX_RESTARTS} times)")
                arguments = arguments if run is None else resume(run)
        echo(f"pinxit: {ended}.")
        if run is not None:
            echo(f"Go on with: {run.resume_command}")
        return 1


def read_run(folder: Path) -> Run | None:
    """Return the run that the processes have created, or None."""
    file = folder / RUN_FILE
    if not file.is_file():
        return None
    run = Run(Path(os.fsdecode(file.read_bytes())))
    return run if (run.path / "config.json").is_file() else None


class ProcessGroup:
    """The processes of a training on this machine."""

    def __init__(
        self,
        arguments: Arguments,
        settings: TrainingSettings,
        main: tuple[str, int] | None,
        folder: Path,
    ) -> None:
        self.size, self.world_size = settings.devices, settings.devices * settings.nodes
        self.first_rank = _node_rank(settings) * self.size
        host, port = main or ("127.0.0.1", _free_port())
        self.environment = {
            **os.environ,
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_WORLD_SIZE": str(self.size),
            "GROUP_RANK": str(_node_rank(settings)),
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
            LAUNCHER_FOLDER: str(folder),
        }
        cores = os.cpu_count() or 1
        self.environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // self.size)))
        self.command = [sys.executable, "-m", "pinxit.cli", *arguments]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.first_ended: int | None = None  # number of the process that ended with an error
        self.signals = 0  # that were handed on
        self.deadline: float | None = None  # when the others are killed

    def run(self) -> int | None:
        """Wait for the end of all processes; return the exit code, None if one was killed."""
        lifeline, keep = os.pipe()
        try:
            with self._hand_on_signals():
                self._start(lifeline)
                while self._is_running():
                    time.sleep(POLL_SECONDS)
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
            os.close(lifeline)
            os.close(keep)
        if self.first_ended is None:
            return 0
        code = self._code(self.first_ended)
        if self.signals:
            return 128 + signal.SIGINT
        was_killed = code < 0 or code == LOST_PROCESS_CODE
        return None if was_killed else code

    def describe_end(self) -> str:
        """Return which process ended, and how."""
        number = self.first_ended or 0
        code = self._code(number)
        name = f"process {self.first_rank + number + 1} of {self.world_size}"
        if code == LOST_PROCESS_CODE:
            return f"{name} has lost the connection to another one"
        known = {s.value: s.name for s in signal.Signals}
        how = known.get(-code, f"signal {-code}")
        memory = " (perhaps the machine ran out of memory)" if -code == signal.SIGKILL else ""
        return f"{name} was ended by {how}{memory}"

    def _start(self, lifeline: int) -> None:
        for number in range(self.size):
            environment = {
                **self.environment,
                "RANK": str(self.first_rank + number),
                "LOCAL_RANK": str(number),
                LIFELINE: str(lifeline),
            }
            # in a session of its own: Ctrl-C in a terminal reaches the launcher alone
            process = subprocess.Popen(
                self.command, env=environment, pass_fds=[lifeline], start_new_session=True
            )
            self.processes.append(process)

    def _code(self, number: int) -> int:
        return self.processes[number].returncode

    def _is_running(self) -> bool:
        """Return whether to wait on; ends the others some time after one has ended."""
        codes = [process.poll() for process in self.processes]
        failed = [number for number, code in enumerate(codes) if code]
        if failed and self.first_ended is None:
            # of several that ended at once, the one that the others have lost
            lost = [number for number in failed if codes[number] != LOST_PROCESS_CODE]
            self.first_ended = (lost or failed)[0]
            self.deadline = time.monotonic() + (STOP_SECONDS if self.signals else GRACE_SECONDS)
        elif self.first_ended is not None and codes[self.first_ended] == LOST_PROCESS_CODE:
            self.first_ended = next(
                (n for n in failed if codes[n] != LOST_PROCESS_CODE), self.first_ended
            )
        if self.deadline is not None and time.monotonic() > self.deadline:
            return False
        return any(code is None for code in codes)

    @contextmanager
    def _hand_on_signals(self) -> Iterator[None]:
        """Send SIGINT and SIGTERM to all processes, which stop after their step."""

        def handle(number: int, frame: FrameType | None) -> None:
            self.signals += 1
            for process in self.processes:
                process.send_signal(number)

        previous = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def follow_launcher() -> None:
    """End this process when its launcher ends, however that ends."""
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is None:
        return

    def wait() -> None:
        os.read(int(descriptor), 1)  # until the launcher's end of the pipe is closed
        os._exit(1)

    threading.Thread(target=wait, name="follow-launcher", daemon=True).start()


def exit_code(error: PinxitError) -> int:
    """Return the exit code for an error: the launcher of this module starts again after some."""
    return LOST_PROCESS_CODE if is_lost(error) else error.exit_code


def leave_if_lost(error: PinxitError) -> None:
    """End this process at once if it has lost another one.

    The usual end of the interpreter may wait for the lost process, in torch.distributed.
    """
    if isinstance(error, LostProcessError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code(error))


def is_lost(error: PinxitError) -> bool:
    """Return whether an error is of a launched process that has lost another one.

    The launcher says it, once for all.
    """
    return isinstance(error, LostProcessError) and LAUNCHER_FOLDER in os.environ


def _main_address(settings: TrainingSettings) -> tuple[str, int] | None:
    """Return host and port of the main process on several machines, None on one."""
    if settings.nodes == 1:
        return None
    missing = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if n not in os.environ]
    if missing:
        raise UsageError(
            f"--nodes {settings.nodes} needs {', '.join(missing)} in the environment: start the "
            "same command on each machine,\nwith NODE_RANK 0, 1, ... and the address of the first "
            "one; or use torchrun or srun (docs/cluster.md)."
        )
    if not 0 <= _node_rank(settings) < settings.nodes:
        raise UsageError(f"NODE_RANK must be from 0 to {settings.nodes - 1}.")
    return os.environ["MASTER_ADDR"], _read_number("MASTER_PORT")


def _node_rank(settings: TrainingSettings) -> int:
    return _read_number("NODE_RANK") if settings.nodes > 1 else 0


def _read_number(name: str) -> int:
    """Return an environment variable as a number. Raises UsageError if it is none."""
    try:
        return int(os.environ[name])
    except ValueError:
        raise UsageError(f"{name} must be a number, not '{os.environ[name]}'.") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
