"""`pinxit serve` and `pinxit mcp`: the options of the network."""

from __future__ import annotations

import pytest

from pinxit.cli import main


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("serve RUN --port 99999", "--port must be from 0 to 65535, not 99999."),
        ("serve RUN --port -1", "--port must be from 0 to 65535, not -1."),
        ("mcp RUN --http --port 99999", "--port must be from 0 to 65535, not 99999."),
        ("mcp RUN --port 3", "--port needs --http: without it, mcp uses standard input"),
        ("mcp RUN --host 0.0.0.0", "--host needs --http: without it, mcp uses standard input"),
    ],
)
def test_invalid_ports_and_hosts_are_refused(args, expected, folder, capsys):
    words = [str(folder / "run") if word == "RUN" else word for word in args.split()]
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"pinxit: {expected}")
