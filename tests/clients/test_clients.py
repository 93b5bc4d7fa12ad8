"""The course's job with many client libraries, each as its own documentation shows.

A library has a program in `programs/`, which fails where the server is not what it expects. The
Python libraries are in .venv-clients, but for one that needs older ones, and those of Node in
build/clients/node_modules: `make clients`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.server import serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted((Path(__file__).parent / "programs").iterdir())
ENVIRONMENTS = dict.fromkeys(
    ("instructor_client", "llamaindex", "semantic_kernel_client"), ".venv-clients-openai2"
)  # of a program; else .venv-clients
NODE_MODULES = ROOT / "build" / "clients" / "node_modules"
LONG = (  # they take long, and use what openai_python or test_mcp_server tries
    "instructor_client", "semantic_kernel_client", "llamaindex", "litellm_calls", "llm_command",
    "mcp_client", "pydantic_ai_agent",
)  # fmt: skip


@pytest.fixture(scope="module")
def base_url(runs, tmp_path_factory):
    with serving(runs.values(), tmp_path_factory.mktemp("clients") / "s.sqlite") as url:
        yield url


def command_of(program: Path) -> list[str]:
    """How to run a program. Skips where its libraries are not installed."""
    if program.suffix == ".py":
        python = ROOT / ENVIRONMENTS.get(program.stem, ".venv-clients") / "bin" / "python"
        if not python.exists():
            pytest.skip("the client libraries are not installed: make clients")
        return [str(python), str(program)]
    node = shutil.which("node")
    if node is None or not NODE_MODULES.is_dir():
        pytest.skip("the client libraries of Node are not installed: make clients")
    # Node looks for packages beside a program
    copy = NODE_MODULES.parent / program.name
    shutil.copy(program, copy)
    return [node, str(copy)]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, marks=pytest.mark.long if program.stem in LONG else ())
        for program in PROGRAMS
    ],
    ids=lambda program: program.stem,
)
def test_a_client_does_the_courses_job(program, base_url, runs, tmp_path):
    mcp_command = [sys.executable, "-m", "pinxit.cli", "mcp", *map(str, runs.values())]
    environment = {
        **os.environ, "OPENAI_BASE_URL": f"{base_url}/v1", "OPENAI_API_KEY": "not-needed",
        "OPENAI_API_BASE": f"{base_url}/v1",  # the name that LlamaIndex reads
        "OPENAI_AGENTS_DISABLE_TRACING": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MCP_COMMAND": json.dumps(mcp_command), "HOME": str(tmp_path),
    }  # fmt: skip
    process = subprocess.run(
        command_of(program), env=environment, capture_output=True, text=True, timeout=120,
        cwd=tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]
