"""The launcher of `pinxit train --devices`, with small programs in place of trainings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pinxit.errors import UsageError
from pinxit.runs import FORMAT, Run
from pinxit.training import launcher
from pinxit.training.accelerators import check_cores
from pinxit.training.launcher import ProcessGroup, launch, needs_launcher
from pinxit.training.processes import LAUNCHER_FOLDER
from pinxit.training.settings import TrainingSettings

TWO = TrainingSettings(devices=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launcher, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(launcher, "GRACE_SECONDS", 1.0)


def use_program(monkeypatch, code: str) -> None:
    """Let the processes run this code; `rank` is there, `attempt` counts from 0."""
    start = ProcessGroup.__init__
    attempts = iter(range(100))
    head = "import os, sys, time, signal; rank = int(os.environ['RANK']); "

    def init(self, arguments, *args):
        start(self, arguments, *args)
        text = f"{head}attempt = {next(attempts)}\n{code}"
        self.command = [sys.executable, "-S", "-c", text, *arguments]

    monkeypatch.setattr(ProcessGroup, "__init__", init)


def test_each_process_gets_the_environment_of_torchrun(monkeypatch, tmp_path):
    names = "('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'GROUP_RANK')"
    values = f"' '.join(os.environ[name] for name in {names})"
    code = f"open({str(tmp_path)!r} + f'/{{rank}}', 'w').write({values})"
    use_program(monkeypatch, code)
    assert launch(["train"], lambda run: [], TWO) == 0
    assert [(tmp_path / n).read_text() for n in "01"] == ["0 0 2 2 0", "1 1 2 2 0"]


@pytest.mark.parametrize("code", [1, 2])
def test_an_error_that_a_process_has_said_is_final(monkeypatch, capfd, code):
    use_program(monkeypatch, f"sys.exit({code}) if rank else time.sleep(60)")
    begin = time.monotonic()
    assert launch(["train"], lambda run: [], TWO) == code
    assert time.monotonic() - begin < 10, "the other process is ended"
    assert capfd.readouterr() == ("", "")


def make_run(folder: Path, *, finished: bool = False) -> Run:
    run = Run(folder / "my run")
    run.write("config.json", {"format": FORMAT, "family": "vae", "finished": finished})
    return run


REPORT_RUN = """
if rank == 0:
    open(os.environ[{folder!r}] + '/run', 'w').write({run!r})
"""


def test_a_killed_process_is_started_again_from_the_checkpoint(monkeypatch, capfd, tmp_path):
    run = make_run(tmp_path)
    code = REPORT_RUN.format(folder=LAUNCHER_FOLDER, run=str(run.path)) + (
        "if attempt == 0:\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else sys.exit(75)\n"
        f"assert sys.argv[1:] == ['train', '--resume', {str(run.path)!r}], sys.argv"
    )
    use_program(monkeypatch, code)
    begin = time.monotonic()
    assert launch(["train", "vae"], lambda run: ["train", "--resume", str(run.path)], TWO) == 0
    assert time.monotonic() - begin < 10
    err = capfd.readouterr().err
    assert err.startswith("process 2 of 2 was ended by SIGKILL (perhaps the machine ran out of")
    assert "Starting again (1 of 3 times)" in err


def test_a_process_that_is_killed_before_there_is_a_run_starts_from_the_beginning(
    monkeypatch, capfd
):
    code = "os.kill(os.getpid(), signal.SIGKILL) if attempt == 0 else None"
    use_program(monkeypatch, code + "\nassert sys.argv[1:] == ['train', 'vae']")
    assert launch(["train", "vae"], lambda run: ["wrong"], TWO) == 0
    assert "checkpoint" not in capfd.readouterr().err


def test_a_process_that_always_dies_is_given_up(monkeypatch, capfd, tmp_path):
    run = make_run(tmp_path)
    code = REPORT_RUN.format(folder=LAUNCHER_FOLDER, run=str(run.path))
    use_program(monkeypatch, code + "os.kill(os.getpid(), signal.SIGSEGV) if rank else None")
    assert launch(["train"], lambda run: [], TWO) == 1
    err = capfd.readouterr().err
    assert err.count("Starting again") == launcher.MAX_RESTARTS
    assert err.splitlines()[-1] == f"Go on with: pinxit train --resume '{run.path}'"


def test_a_process_that_dies_after_the_training_is_not_trained_again(monkeypatch, capfd, tmp_path):
    run = make_run(tmp_path, finished=True)
    code = REPORT_RUN.format(folder=LAUNCHER_FOLDER, run=str(run.path))
    use_program(monkeypatch, code + "os.kill(os.getpid(), signal.SIGKILL) if rank == 0 else None")
    assert launch(["train"], lambda run: [], TWO) == 1
    assert "after the end of the training" in capfd.readouterr().err


def test_signals_are_handed_on_and_the_processes_may_end_by_themselves(monkeypatch, tmp_path):
    code = (
        "signal.signal(signal.SIGINT, lambda *_: (time.sleep(0.3), sys.exit(130 * (rank == 0))))\n"
        f"open({str(tmp_path)!r} + f'/{{rank}}', 'w').close()\n"
        "time.sleep(60)"
    )
    use_program(monkeypatch, code)

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    assert launch(["train"], lambda run: [], TWO) == 130
    assert time.monotonic() - begin < 20


def test_processes_end_when_their_launcher_is_killed(tmp_path):
    worker = (
        "from pinxit.training.launcher import follow_launcher\n"
        "import os, time\n"
        "follow_launcher()\n"
        f"open({str(tmp_path)!r} + '/' + os.environ['RANK'], 'w').write(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pinxit.training.launcher import ProcessGroup\n"
        "from pinxit.training.settings import TrainingSettings\n"
        f"group = ProcessGroup([], TrainingSettings(devices=2), None, Path({str(tmp_path)!r}))\n"
        f"group.command = [sys.executable, '-c', {worker!r}]\n"
        "group.run()"
    )
    leader = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not all((tmp_path / n).is_file() and (tmp_path / n).read_text() for n in "01"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    leader.kill()
    leader.wait()
    for name in "01":
        pid = int((tmp_path / name).read_text())
        while is_running(pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_from_elsewhere_starts_no_more_processes_than_there_are_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    check_cores("cpu", 4)
    with pytest.raises(UsageError, match="devices is 64, but this machine has 4 cores"):
        check_cores("cpu", 64)
    with pytest.raises(UsageError, match="devices is 64"):
        launch([], lambda run: [], TrainingSettings(devices=64, device="cpu"))


def test_several_machines_need_an_address(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    settings = TrainingSettings(devices=1, nodes=2)
    assert needs_launcher(settings)
    with pytest.raises(UsageError, match="--nodes 2 needs MASTER_ADDR, MASTER_PORT, NODE_RANK"):
        launch([], lambda run: [], settings)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("NODE_RANK", "2")
    with pytest.raises(UsageError, match="NODE_RANK must be from 0 to 1"):
        launch([], lambda run: [], settings)
    for name, value in (("NODE_RANK", "node0"), ("MASTER_PORT", "")):
        monkeypatch.setenv("NODE_RANK", "0")
        monkeypatch.setenv(name, value)
        with pytest.raises(UsageError, match=f"{name} must be a number, not '{value}'"):
            launch([], lambda run: [], settings)


def test_processes_that_were_launched_already_launch_no_others(monkeypatch):
    assert needs_launcher(TWO)
    assert not needs_launcher(TrainingSettings())
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not needs_launcher(TWO)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert not needs_launcher(TWO)
