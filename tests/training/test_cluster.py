"""The launch files of docs/cluster.md, run as far as one machine allows: on the loopback device."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pinxit.runs import Run
from tests.training.groups import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
OPTIONS = "--size 64 --epochs 100"  # of the files; here replaced by those of a small training
SMALL = "--steps 300 --width 16 --depth 1 --batch-size 16 --num-evals 2 --no-report"
SMALL += " --checkpoint-seconds 0.2"


def read_block(kind: str, text: str) -> str:
    """Return the block of the page that contains a text."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)
    return next(block for block in blocks if text in block)


def write_program(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.fixture
def programs(tmp_path) -> Path:
    """A folder with `pinxit` and `torchrun` of this Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = f'#!/bin/bash\nexec "{sys.executable}" -m'
    write_program(folder / "pinxit", f'{python} pinxit.cli "$@"\n')
    write_program(folder / "torchrun", f'{python} torch.distributed.run "$@"\n')
    return folder


def environment(programs: Path, **variables: object) -> dict[str, str]:
    unset = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {
        **kept,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "FAMILY": "vae",
        "DATA": "digits",
        **{name: str(value) for name, value in variables.items()},
    }


def shell_scripts() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("number", range(len(shell_scripts())))
def test_the_scripts_are_valid(number):
    subprocess.run(["bash", "-n"], input=shell_scripts()[number], text=True, check=True)


def test_the_page_uses_known_options():
    from pinxit.cli.options import read_options
    from pinxit.cli.train import family_command

    flags = {flag for option in read_options(family_command("igpt")) for flag in option.spellings}
    for script in (*shell_scripts(), read_block("yaml", "kind: Job")):
        command = re.split(r"pinxit(?:\.cli)? train", script, maxsplit=1)[1].split("\ncode=")[0]
        command = command.split("resources:")[0]
        assert set(re.findall(r"--[a-z-]+", command)) <= flags


def children(pid: int) -> Iterator[int]:
    """Yield the descendants of a process."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    for child in map(int, file.read_text().split() if file.is_file() else ()):
        yield child
        yield from children(child)


def trainers(pid: int) -> list[int]:
    """Return the descendants of a process that train."""
    found = []
    for child in children(pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"pinxit.cli" in words and b"torch.distributed.run" not in words:
            found.append(child)
    return found


def wait_for(condition, agents: list[subprocess.Popen[str]], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert all(agent.poll() is None for agent in agents), "ended too early"
        time.sleep(0.02)


@pytest.mark.long
def test_two_torchrun_agents_go_on_after_one_process_was_killed(tmp_path, programs):
    script = read_block("bash", "# torchrun.sh").replace(OPTIONS, SMALL)
    out = tmp_path / "run"
    variables = environment(programs, NNODES=2, NPROC=1, OUT=out, MASTER_PORT=free_port())
    agents, logs = [], []
    for number in range(2):
        log = (tmp_path / f"agent-{number}.txt").open("w")
        logs.append(log)
        agents.append(
            subprocess.Popen(["bash", "-c", script], env=variables, stdout=log, stderr=log)
        )
    try:
        previous = out / "checkpoint" / "state.previous.safetensors"
        wait_for(previous.is_file, agents)
        os.kill(trainers(agents[1].pid)[0], signal.SIGKILL)
        codes = [agent.wait(240) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
        for log in logs:
            log.close()
    said = "".join((tmp_path / f"agent-{number}.txt").read_text() for number in range(2))
    assert codes == [0, 0], said
    assert "another process of this training has ended" in said
    assert "continuing from step" in said
    run = Run(out)
    assert run.config["finished"] is True
    assert run.config["trained"]["steps"] == 300


FAKE_SRUN = """#!{python}
import os, subprocess, sys
command = sys.argv[1:]
while command[0].startswith("-"):
    command.pop(0)
tasks = []
for rank in range(2):
    step = {{"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": str(rank)}}
    step |= {{"SLURM_STEP_NODELIST": "localhost", "SLURM_LOCALID": "0", "SLURM_NODEID": str(rank)}}
    tasks.append(subprocess.Popen(command, env={{**os.environ, **step}}))
sys.exit(max(abs(task.wait()) for task in tasks))
"""


@pytest.mark.long
def test_the_job_of_slurm_is_requeued_until_it_is_finished(tmp_path, programs):
    script = read_block("bash", "#SBATCH").replace(OPTIONS, SMALL.replace("300", "20"))
    write_program(programs / "srun", FAKE_SRUN.format(python=sys.executable))
    requeued = tmp_path / "requeued"
    write_program(programs / "scontrol", f'#!/bin/bash\necho "$@" >>"{requeued}"\n')
    out = tmp_path / "run"
    variables = environment(programs, OUT=out, SLURM_JOB_ID=free_port() % 10000)
    del variables["MASTER_ADDR"]
    done = subprocess.run(
        ["bash", "-c", script], env=variables, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out), "one of the two prints"
    assert done.stdout.count(str(out)) == 2
    assert Run(out).config["finished"] is True
    assert not requeued.exists()
    write_program(programs / "srun", "#!/bin/bash\nexit 130\n")
    stopped = subprocess.run(["bash", "-c", script], env=variables, capture_output=True)
    assert stopped.returncode == 130
    assert requeued.read_text().startswith("requeue ")


def test_the_job_of_kubernetes_meets_at_its_first_pod():
    service, job = yaml.safe_load_all(read_block("yaml", "kind: Job"))
    assert service["metadata"]["name"] == job["spec"]["template"]["spec"]["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["spec"]["clusterIP"] == "None"
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    (container,) = spec["template"]["spec"]["containers"]
    script = container["args"][0]
    for index, is_host in (("0", "is_host=1"), ("1", "is_host=0")):
        shown = subprocess.run(
            ["bash", "-c", script.replace("exec torchrun", "printf '%s\\n'")],
            env={"JOB_COMPLETION_INDEX": index, "PATH": os.environ["PATH"]},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        words = shown.stdout.splitlines()
        assert words[words.index("--rdzv-endpoint") + 1] == "pinxit-0.pinxit:29500"
        assert words[words.index("--rdzv-conf") + 1] == is_host
        assert words[words.index("-m") + 1 :][:2] == ["pinxit.cli", "train"]
