"""The optional parts: declared as the code needs them, named when they are missing, not needed."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from pinxit.cli import main
from pinxit.extras import EXTRAS, MissingExtraError, require_extra

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOT_OPTIONAL = {"all", "test", "docs", "benchmark"}

OPTIONAL_MODULES = sorted({module for modules in EXTRAS.values() for module in modules})

# hides the modules of all extras, as in a base installation
BASE_INSTALL = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {OPTIONAL_MODULES!r}:
            return self.finder.find_spec(name, path, target)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
"""


def canonical(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_an_extra_installs_the_modules_that_it_stands_for(extra):
    declared = {canonical(text) for text in PROJECT["optional-dependencies"][extra]}
    installed = packages_distributions()
    for module in EXTRAS[extra]:
        names = {name.lower().replace("_", "-") for name in installed.get(module, ())}
        assert not names or names & declared, f"{module} comes from {names}"


def test_every_extra_of_the_project_is_known_to_the_code():
    assert set(PROJECT["optional-dependencies"]) - NOT_OPTIONAL == set(EXTRAS)


def test_the_table_of_the_readme_has_every_extra_that_users_install():
    readme = (ROOT / "README.md").read_text("utf-8")
    table = re.search(r"^\| extra \| for \|\n(.+?)\n\n", readme, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [line.split(" | ", 1) for line in table[1].splitlines()[1:]]
    named = [name for cell, _ in rows for name in re.findall(r"`([\w-]+)`", cell)]
    extras = PROJECT["optional-dependencies"]
    assert sorted(named) == sorted(set(extras) - (NOT_OPTIONAL - {"all"}))
    (left_out,) = (re.findall(r"`(\w+)`", text) for cell, text in rows if "`all`" in cell)
    included = re.search(r"\[(.+)\]", extras["all"][0])
    assert included is not None
    assert set(left_out) == set(EXTRAS) - set(included[1].split(","))


def test_no_extra_is_a_requirement_of_the_base_install():
    optional = {
        canonical(text)
        for name, texts in PROJECT["optional-dependencies"].items()
        if name not in NOT_OPTIONAL
        for text in texts
    }
    assert not optional & {canonical(text) for text in PROJECT["dependencies"]}


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("pinxit.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as raised:
        require_extra("hub", "downloading hf:a/b", "use a local folder")
    assert str(raised.value) == (
        "downloading hf:a/b needs datasets and huggingface_hub: pip install 'pinxit[hub]', "
        "or use a local folder"
    )


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["train", "vae", "hf:owner/name", "--steps", "1"], "hub"),
        (["train", "vae", "mnist", "--steps", "1"], "hub"),
        (["train", "vae", "a.parquet", "--steps", "1"], "parquet"),
        (["train", "vae", "digits", "--steps", "1", "--tensorboard"], "tensorboard"),
        (["train", "vae", "digits", "--steps", "1", "--log", "wandb"], "wandb"),
        (["train", "seq2seq", "shapes:8", "--size", "16", "--steps", "1"], "text"),
        (["embed", "run"], "parquet"),
        (["evaluate", "run", "--fid"], "fid"),
        (["report", "run", "--umap"], "umap"),
        (["export", "run"], "export"),
        (["report", "run", "--live"], "export"),
        (["serve", "run"], "serve"),
        (["mcp", "run"], "serve"),
    ],
)
def test_a_command_says_early_which_extra_it_needs(words, extra, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PINXIT_DATA", raising=False)
    monkeypatch.setattr("pinxit.extras.find_spec", lambda name: None)
    monkeypatch.setattr("pinxit.runs.Run.check", lambda run: None)
    monkeypatch.setattr("pinxit.runs.Run.check_weights", lambda run: None)
    Path("a.parquet").write_bytes(b"PAR1")
    assert main(words) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"pip install 'pinxit[{extra}]'" in error
    assert not Path("runs").exists(), "no work is done first"


@pytest.mark.slow
def test_training_evaluation_and_reports_need_no_extra(tmp_path):
    """All that `make demo` does, and the metrics and the table of single images."""
    run = tmp_path / "run"
    program = BASE_INSTALL + textwrap.dedent(f"""
        from pinxit.cli import main
        for line in (
            "train vae digits --steps 3 --num-evals 1 --width 16 --no-report --out {run}",
            "sample {run} -n 4",
            "evaluate {run} --iw-samples 2 --max-images 100 --no-distances",
            "embed {run} --out {tmp_path}/vectors.npz",
            "score {run}",
            "report {run}",
        ):
            assert main(line.split()) == 0, line
        assert not set({OPTIONAL_MODULES!r}) & set(sys.modules)
    """)
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    assert (run / "evaluation-images.csv").is_file()
    assert (run / "report.html").is_file()
