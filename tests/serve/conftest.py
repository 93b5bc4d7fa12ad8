"""A server of tiny runs, and the official client, for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.builders import train_runs
from tests.serve.server import make_client, serving


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return train_runs(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def base_url(runs, tmp_path_factory):
    """The URL of a server of all the runs."""
    with serving(runs.values(), tmp_path_factory.mktemp("store") / "serve.sqlite") as url:
        yield url


@pytest.fixture(scope="session")
def client(base_url):
    return make_client(base_url)


@pytest.fixture(scope="session")
def postgres():
    """The URL of a temporary PostgreSQL server on a loopback port."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), Path("/usr/local/bin")]
    programs = next((path for path in folders if (path / "initdb").exists()), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # not among pytest's folders, which other users may not enter: PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="pinxit-postgres-") as name:
        folder, run_as = Path(name), []
        if os.geteuid() == 0:
            folder.chmod(0o777)
            run_as = [shutil.which("runuser") or "runuser", "-u", "postgres", "--"]

        def run(program: str, *options: str, check: bool = True) -> None:
            command = [*run_as, str(programs / program), "-D", str(folder / "data"), *options]
            subprocess.run(command, check=check, capture_output=True, cwd=folder)

        run("initdb", "-U", "pinxit", "-A", "trust")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-w", "-o", options, "-l", str(folder / "log"), "start")
        yield f"postgresql://pinxit@127.0.0.1:{port}/postgres"
        run("pg_ctl", "-w", "-m", "immediate", "stop", check=False)
