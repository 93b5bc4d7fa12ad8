"""No request is answered with a server error: neither valid nor invalid ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_no_request_of_the_openapi_document_is_a_server_error(base_url):
    """A few generated examples of each route."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{base_url}/openapi.json"]
    options = ["--checks", "not_a_server_error", "--max-examples", "6", "--phases", "fuzzing"]
    seed = ["--seed", "1", "--exclude-path-regex", "/metrics"]
    process = subprocess.run([*command, *options, *seed], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-1000:]
