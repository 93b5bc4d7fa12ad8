"""The completion scripts, run in their shells where these are installed."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess

import pytest

from pinxit.cli import COMMANDS, main
from pinxit.cli.completion import bash_script, fish_script, zsh_script
from pinxit.models import list_families

pytestmark = pytest.mark.slow

SCRIPTS = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two runs, a file and a folder of images."""
    folder = tmp_path_factory.mktemp("completion")
    for name in ("digits-vae", "my run"):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "config.json").write_text(json.dumps({"family": "vae"}))
    (folder / "runs" / "no-run").mkdir()
    (folder / "photos").mkdir()
    (folder / "dog.png").touch()
    (folder / "script.bash").write_text(bash_script())
    return folder


def complete(folder, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    line = f"COMP_WORDS=({shlex.join(['pinxit', *words])}); COMP_CWORD={len(words)}"
    code = f"source script.bash; {line}; _pinxit; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    result = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    return [word for word in result.stdout.splitlines() if word]


def test_bash_completes_commands(folder):
    assert set(COMMANDS) <= set(complete(folder, ""))
    assert complete(folder, "sam") == ["sample"]
    assert complete(folder, "help", "tran") == ["translate"]
    assert complete(folder, "zzz") == []


def test_bash_completes_families_after_train(folder):
    assert complete(folder, "train", "") == [*list_families(), "--resume", "--help"]
    assert complete(folder, "train", "va") == ["vae"]


def test_bash_completes_options_of_the_command(folder):
    assert complete(folder, "train", "vae", "digits", "--latent-d") == ["--latent-dim"]
    assert complete(folder, "train", "mae", "digits", "--latent") == []
    assert "--no-report" in complete(folder, "train", "vae", "digits", "--no-")
    assert "--top-k" in complete(folder, "sample", "runs/x", "--")
    assert "--minutes" in complete(folder, "train", "--resume", "runs/x", "--")


def test_bash_completes_choices_of_an_option(folder):
    assert complete(folder, "complete", "runs/x", "--half", "") == [
        "lower",
        "upper",
        "left",
        "right",
    ]
    assert complete(folder, "sample", "runs/x", "--device", "c") == ["cpu", "cuda"]
    assert complete(folder, "completion", "z") == ["zsh"]
    assert complete(folder, "completion", "") == ["bash", "zsh", "fish"]


def test_bash_completes_runs_data_and_files(folder):
    complete_line = complete(folder, "sample", "")
    assert {"runs/digits-vae", "runs/my run"} <= set(complete_line)
    assert "runs/no-run" not in complete_line
    assert complete(folder, "train", "--resume", "runs/dig") == ["runs/digits-vae"]
    data = complete(folder, "train", "vae", "")
    assert {"digits", "mnist", "photos", "dog.png"} <= set(data)
    assert complete(folder, "reconstruct", "runs/x", "do") == ["dog.png"]
    assert complete(folder, "sample", "x", "--out", "pho") == ["photos"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_completion_script_is_printed(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script == SCRIPTS[shell]() + "\n"
    assert "@" not in script.replace("$@", "").replace("[@]", "").replace("{@:2}", "")
    for word in (*COMMANDS, *list_families(), "latent-dim"):
        assert word in script


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_completion_script_is_valid(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell]())
    subprocess.run([shell, "-n", str(script)], check=True)


def test_fish_completes_commands_and_options(folder):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (folder / "script.fish").write_text(fish_script())

    def complete_line(line: str) -> set[str]:
        code = f"source script.fish; complete -C {shlex.quote(line)}"
        result = subprocess.run(
            ["fish", "-N", "-c", code], cwd=folder, capture_output=True, text=True, check=True
        )
        return {entry.split("\t")[0] for entry in result.stdout.splitlines()}

    assert set(COMMANDS) <= complete_line("pinxit ")
    assert set(list_families()) <= complete_line("pinxit train ")
    assert "--latent-dim" in complete_line("pinxit train vae digits --lat")
    assert complete_line("pinxit completion ") >= {"bash", "zsh", "fish"}
    devices = ["fish", "-N", "-c", "source script.fish; complete -C 'pinxit sample x --device '"]
    result = subprocess.run(devices, cwd=folder, capture_output=True, text=True, check=True)
    assert {"auto", "cpu"} <= {line.strip() for line in result.stdout.splitlines()}


def test_zsh_loads_the_script():
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    code = 'autoload -U compinit; compinit -u -D; eval "$SCRIPT"; print $_comps[pinxit]'
    result = subprocess.run(
        ["zsh", "-f", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"SCRIPT": zsh_script(), "PATH": "/usr/bin:/bin"},
    )
    assert result.stdout.strip() == "_pinxit"
