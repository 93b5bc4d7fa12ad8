"""Whatever the OpenAPI document allows, and what it does not, is answered without a 5xx."""

from __future__ import annotations

import subprocess
import sys


def test_no_request_of_the_document_is_answered_with_a_server_error(base):
    """A few examples of each route; `python -m benchmarks serve` runs thousands."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{base}/openapi.json"]
    options = ["--checks", "not_a_server_error", "--max-examples", "6", "--phases", "fuzzing"]
    seeded = ["--seed", "1", "--exclude-path-regex", "/metrics"]
    done = subprocess.run([*command, *options, *seeded], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
