"""`pinxit` itself: its overview, versions, exit codes, and consoles of any encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import pinxit.cli
from pinxit.cli import COMMANDS, GROUPS, main, overview
from pinxit.errors import PinxitError, UsageError
from pinxit.models import list_families


def run_process(*words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pinxit.cli", *words]
    return subprocess.run(command, capture_output=True, env={**os.environ, **env}, check=False)


def test_overview_lists_every_command_in_80_columns():
    lines = overview().splitlines()
    for command, (_, text) in COMMANDS.items():
        assert f"  {command:<13}{text}" in lines
    assert all(f"{title}:" in lines for title in GROUPS)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("words", "code"), [([], 2), (["--help"], 0), (["-h"], 0), (["help"], 0), (["help", "-h"], 0)]
)
def test_the_overview_is_printed_for(words, code, capsys):
    assert main(words) == code
    assert capsys.readouterr().out.rstrip("\n") == overview()


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr().out == f"pinxit {version('pinxit')}\n"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_help_of_a_command_is_its_help_page(command, capsys):
    assert main(["help", command]) == 0
    page = capsys.readouterr().out
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == page
    assert page.startswith(f"usage: pinxit {command}")


@pytest.mark.parametrize("family", list_families())
def test_help_of_a_family_is_the_page_of_training_it(family, capsys):
    assert main(["help", family]) == 0
    page = capsys.readouterr().out
    assert main(["train", family, "--help"]) == 0
    assert capsys.readouterr().out == page


def test_the_overview_names_every_option_of_the_program():
    assert "--version" in overview()
    assert "--debug" in overview()


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (PinxitError("no such thing."), 1, "pinxit: no such thing.\n"),
        (UsageError("not so."), 2, "pinxit: not so.\n"),
        (KeyboardInterrupt(), 130, "pinxit: interrupted.\n"),
        (KeyboardInterrupt("stopped at step 7."), 130, "pinxit: stopped at step 7.\n"),
        (ValueError("a\nb"), 1, "pinxit: ValueError: a\npinxit: this is a bug. Run the command"),
    ],
)
def test_an_error_has_an_exit_code_and_a_line(error, code, text, capsys, monkeypatch):
    def fail(words):
        raise error

    monkeypatch.setattr(pinxit.cli, "_dispatch", fail)
    assert main(["sample"]) == code
    assert capsys.readouterr().err.startswith(text)


@pytest.mark.parametrize("error", [PinxitError("known"), ValueError("unknown")])
def test_debug_shows_the_traceback(error, monkeypatch):
    def fail(words):
        assert "--debug" not in words
        raise error

    monkeypatch.setattr(pinxit.cli, "_dispatch", fail)
    with pytest.raises(type(error)):
        main(["sample", "--debug"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_never_fails_on_a_console_of_another_encoding(encoding):
    result = run_process("sample", "läufe/数字", PYTHONIOENCODING=encoding)
    assert result.returncode == 2
    assert result.stderr.startswith(b"pinxit: no run at l")
    assert b"Traceback" not in result.stderr
    result = run_process("runs", "--json", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr


def test_a_reader_of_a_pipe_that_stops_early_is_no_error():
    command = (
        f"{sys.executable} -m pinxit.cli train vae --help | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    first, code = result.stdout.splitlines()
    assert first.startswith("usage: pinxit train vae")
    assert code in ("0", "141")
    assert "Traceback" not in result.stderr
