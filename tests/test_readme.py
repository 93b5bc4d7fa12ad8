"""What the README says runs: its commands, in order, and its Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.cli import main
from pinxit.runs import Run

README = Path(__file__).parent.parent / "README.md"


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    return re.findall(r"^\$ pinxit (.+)$", "\n".join(blocks), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_commands_run_in_order(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert len(commands()) >= 10
    for words in commands():
        if words.startswith("explain"):  # takes half a minute; tests/reports/test_explain.py
            continue
        words = re.sub(r"--minutes [\d.]+", "--steps 12", words)  # minutes make 50 steps at least
        if words.startswith("train "):
            words += " --num-evals 1"  # each makes a sheet
        if re.match("train (?!vae digits)", words):
            words += " --no-report"  # takes longer than these steps; tests/reports/ writes them
        code = main(shlex.split(words))
        out, err = capfd.readouterr()
        assert code == 0, f"pinxit {words}: {err}"
        last = out.strip().splitlines()[-1]
        if words.split()[0] not in ("sources", "evaluate", "runs"):
            assert Path(last).exists(), f"pinxit {words}: the last line is no path: {last}"
    served = re.search(r"^pinxit serve (.+)$", README.read_text(), re.MULTILINE)
    assert served
    assert all(Run(Path(path)).weights_path.is_file() for path in served[1].split())


def test_python_runs(tmp_path, monkeypatch):
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(24):
        pixels = random.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    exec(block[1].replace("minutes=5", "steps=2"), {})
    assert (tmp_path / "new.png").is_file()


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README.read_text()))
def test_what_it_links_to_is_there(path):
    assert (README.parent / path).exists()


def test_each_row_of_the_results_says_what_it_is_of():
    """A row is read by itself, and moves: it does not refer to the one above it."""
    results = README.read_text().partition("## Results")[2]
    table = re.search(r"^\| what \| result .+?\n\n", results, re.MULTILINE | re.DOTALL)
    assert table
    subjects = [line.removeprefix("| ").removeprefix("**C** ") for line in table[0].splitlines()]
    assert len(subjects) > 10
    assert [s for s in subjects if re.match(r"(the same|as above|so |likewise)", s, re.I)] == []
