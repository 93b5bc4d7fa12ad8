"""Dockerfile and compose.yaml: clean by hadolint, and what they say is what the program has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinxit.cli import main
from pinxit.extras import EXTRAS
from pinxit.serve.middleware import PUBLIC_PATHS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
PAGE = (ROOT / "docs" / "docker.md").read_text("utf-8")
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
REQUIRED = {"PINXIT_RUNS", "PINXIT_API_KEY", "POSTGRES_PASSWORD"}


def argument(name: str) -> str:
    match = re.search(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert match is not None
    return match[1]


def test_the_image_has_extras_that_exist_and_those_of_a_server():
    extras = argument("EXTRAS").split(",")
    assert set(extras) <= set(EXTRAS)
    assert {"serve", "postgres"} <= set(extras)


def test_every_copied_file_exists_and_passes_dockerignore():
    kept = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    stage = DOCKERFILE.partition("\nFROM ")[2].partition("\nFROM ")[0]
    copied = [
        name
        for line in re.findall(r"^COPY (.*)$", stage, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    assert "src" in copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in kept, name


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


def test_the_server_of_compose_starts_with_options_that_exist(capsys):
    command = VARIABLE.sub("/runs/missing", COMPOSE["services"]["pinxit"]["command"])
    assert main(shlex.split(command)) != 0
    error = capsys.readouterr().err
    assert "/runs/missing" in error  # the options are accepted, the folder is not there
    assert "--" not in error


def test_compose_uses_the_port_the_user_and_the_health_check_of_the_server():
    server, database = COMPOSE["services"]["pinxit"], COMPOSE["services"]["database"]
    port = re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert port is not None
    assert server["ports"] == [f"127.0.0.1:{port[1]}:{port[1]}"]
    assert f"--port {port[1]}" in server["command"]
    check = server["healthcheck"]["test"][-1]
    path = re.search(rf":{port[1]}(/\w+)", check)
    assert path is not None
    assert path[1] in PUBLIC_PATHS
    user, name = re.search(r"postgresql://(\w+)@database/(\w+)", server["command"]).groups()
    assert database["environment"]["POSTGRES_USER"] == user
    assert database["environment"]["POSTGRES_DB"] == name
    compile(check, "compose.yaml", "exec")


def test_secrets_come_from_the_environment_and_are_required():
    text = (ROOT / "compose.yaml").read_text("utf-8")
    variables = {match[1]: match[2] for match in VARIABLE.finditer(text)}
    assert {name for name, kind in variables.items() if kind == "?"} == REQUIRED
    assert "password" not in COMPOSE["services"]["pinxit"]["command"].lower()
    for name in REQUIRED:
        assert name in PAGE


def test_the_page_names_build_arguments_that_exist():
    for name in re.findall(r"--build-arg (\w+)=", PAGE):
        assert argument(name)
