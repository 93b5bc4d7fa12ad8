"""Every code block of the documentation runs, or says why not; options that are named exist."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import COMMANDS, main, train
from pinxit.cli.options import read_options
from pinxit.cli.parse import parse_args
from pinxit.models import list_families
from tests import doc_blocks
from tests.builders import CaptionScorer
from tests.doc_blocks import PAGES, ROOT, Block, find_inline_commands, read_blocks, split_command

BLOCKS = [block for page in PAGES for block in read_blocks(page)]
SCRIPTS = [block for block in BLOCKS if block.kind in doc_blocks.COMMANDS]
INLINE = sorted({(page, text) for page in PAGES for text in find_inline_commands(page)})
EXECUTED = sorted({b.page for b in BLOCKS if not b.mark and b.page.parent != ROOT})
TINY = "--steps 2 --num-evals 1 --no-report"  # in place of a budget of minutes


# -- what a block says -----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_is_fenced_and_has_a_language(page):
    assert doc_blocks.find_indented(page) == []
    for block in read_blocks(page):
        assert block.kind in doc_blocks.KINDS, block


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_mark_says_why_a_block_is_not_run_or_names_what_runs_it(block):
    mark = block.mark
    if not mark:
        assert block.kind in ("console", "python"), f"{block}: nothing runs this"
        return
    assert mark.startswith(doc_blocks.MARKS)
    kind, _, what = mark.partition(": " if mark.startswith("not run") else " ")
    if kind == "not run":
        assert len(what) > 10
    elif mark.startswith("run by "):
        file = ROOT / mark.removeprefix("run by ")
        assert block.page.name in file.read_text("utf-8")
    elif mark.startswith("message of "):
        names = mark.removeprefix("message of ").split(", ")
        check_message(block, [ROOT / "src" / "pinxit" / name for name in names])


def check_message(block: Block, files: list[Path]) -> None:
    """Every long word of a message stands in the strings of the files that print it."""
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    constants = [str(n.value) for t in trees for n in ast.walk(t) if isinstance(n, ast.Constant)]
    known = set(re.findall(r"[A-Za-z_]{6,}", " ".join(constants)))
    words = set(re.findall(r"[A-Za-z_]{6,}", block.text))
    assert len(words) > 2
    assert words - known <= {"SIGKILL", "pinxit"}, block


def parse(line: str) -> None:
    """Parse a command of pinxit by the real parser. Raises where it is wrong."""
    words = split_command(line)
    while words and "=" in words[0] and not words[0].startswith("-"):
        words = words[1:]
    assert words[0] == "pinxit", line
    command, *rest = words[1:]
    assert command in COMMANDS, line
    if command != "train":
        function = getattr(importlib.import_module(COMMANDS[command][0]), command)
        parse_args(command, function, rest)
    elif "--resume" in rest:
        parse_args("train", train.resume, rest)
    elif rest[0] in list_families():
        parse_args(f"train {rest[0]}", train.family_command(rest[0]), rest[1:])
    else:  # the family is chosen from the images, or named by a file
        parse_args("train", train.auto, rest)


@pytest.fixture(autouse=True)
def _load_no_model(monkeypatch):
    monkeypatch.setattr("pinxit.cli.tyro_rules.load_reranker", lambda run: CaptionScorer())


def list_flags(command: str, words: list[str]) -> set[str]:
    """Return the flags that a command takes."""
    if command != "train":
        functions = [getattr(importlib.import_module(COMMANDS[command][0]), command)]
    elif "--resume" in words:
        functions = [train.resume]
    else:
        families = [word for word in words if word in list_families()]
        functions = [train.family_command(family) for family in families] or [train.auto]
    return {flag for f in functions for option in read_options(f) for flag in option.spellings}


def check_flags(command: str, words: list[str]) -> None:
    flags = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert flags <= {*list_flags(command, words), "--help", "-h"}, (command, words)


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_commands_are_parsed_by_the_real_parser(block):
    if block.mark.startswith(("run by ", "message of ")):
        return  # a script with variables, which its test fills in, or what the program prints
    for line in block.commands:
        words = split_command(line)
        if words[0] == "pinxit":
            parse(line)
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words[0] == "python":
            file = f"{words[2].replace('.', '/')}" if words[1] == "-m" else words[1]
            assert any((ROOT / f"{file}{end}").exists() for end in ("", ".py")), line
        elif words[0] == "docker" and re.match(r"(compose )?run ", " ".join(words[1:])):
            image = next(i for i, word in enumerate(words) if re.fullmatch(r"pinxit(:\w+)?", word))
            if words[image + 1 :] != ["--help"]:
                parse(shlex.join(["pinxit", *words[image + 1 :]]))
        else:
            assert words[0] in ("docker", "export") or words[:2] == ["pip", "install"], line


@pytest.mark.parametrize(("page", "text"), INLINE, ids=lambda value: str(value)[-70:])
def test_commands_in_running_text_have_options_that_exist(page, text):
    words = split_command(text)[1:]
    assert words[0] in [*COMMANDS, "help"], text
    if words[0] in COMMANDS:
        check_flags(words[0], words[1:])


def test_an_option_that_does_not_exist_is_found():
    with pytest.raises(AssertionError):
        check_flags("train", shlex.split("vae photos/ --latent-dims 4"))
    with pytest.raises(pinxit.UsageError):
        parse("pinxit sample runs/x --number 4")


# -- Python ----------------------------------------------------------------------------------------


def list_python_calls() -> list[ast.Call]:
    """Calls of `run.X(...)` and `pinxit.X(...)` in tables and running text of docs/python.md."""
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    calls = []
    for code in re.findall(r"(?<!`)`([^`\n]+)`", text):
        with contextlib.suppress(SyntaxError):
            nodes = ast.walk(ast.parse(code))
            calls += [n for n in nodes if isinstance(n, ast.Call)]
    return [call for call in calls if re.fullmatch(r"(run|pinxit)\.\w+", ast.unparse(call.func))]


@pytest.mark.parametrize("call", list_python_calls(), ids=ast.unparse)
def test_a_call_in_a_table_fits_its_signature(call):
    owner, name = ast.unparse(call.func).split(".")
    function = getattr(pinxit.Run if owner == "run" else pinxit, name)
    own = (None,) if owner == "run" and not inspect.isclass(function) else ()
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    inspect.signature(function).bind_partial(*own, *[None for _ in call.args], **keywords)


# -- running the pages -----------------------------------------------------------------------------


def make_photos(folder: Path) -> None:
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(24):
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def shorten(command: str) -> str:
    """Return a command with a budget of a few steps, on small images."""
    if command.startswith("pinxit train"):
        command = re.sub(r"--minutes [\d.]+", TINY, command)
    if command.startswith("pinxit evaluate"):
        command += " --max-images 64 --probe-train-size 64"
    return re.sub(r"--iw-samples \d+", "--iw-samples 5", command)


def run_command(command: str) -> None:
    words = shlex.split(shorten(command))
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = main(words[1:])
    assert code == 0, f"{command}: {err.getvalue()[-500:]}"


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos")
    if "runs/photos" in page.read_text() and page.name == "map.md":
        run_command("pinxit train vae photos/ --width 8 --minutes 1 --out runs/photos")
    for block in read_blocks(page):
        if block.mark.startswith("files of "):
            folder = tmp_path / block.mark.removeprefix("files of ")
            names = re.findall(r"^  (\w\S*)", block.text, re.MULTILINE)
            assert {"_SUCCESS", names[0], names[1]} & set(names)
            found = {file.name for file in folder.iterdir()}
            assert set(names) - {"part-00001.parquet", "_skipped.jsonl"} <= found
        if block.mark:
            continue
        for command in block.commands if block.kind == "console" else []:
            run_command(command)
        if block.kind == "python":
            text = re.sub(r"minutes=[\d.]+", "steps=2, quiet=True", block.text)
            text = text.replace("watch_port=8001", "watch_port=0")
            exec(text, {})
