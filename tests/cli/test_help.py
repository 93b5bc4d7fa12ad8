"""The help pages of the commands: plain language, in the columns of the terminal."""

from __future__ import annotations

import dataclasses
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import FlagCreatePairsOff, Positional, arg

from pinxit.cli import COMMANDS
from pinxit.cli.help import help_page
from pinxit.cli.options import COMMON, read_docstring, read_options
from pinxit.cli.train import family_command
from pinxit.models import list_families

FUNCTIONS = {
    name: getattr(importlib.import_module(module), name)
    for name, (module, _) in COMMANDS.items()
    if name != "train"
}
FUNCTIONS |= {f"train {name}": family_command(name) for name in list_families()}


@dataclass(frozen=True)
class Settings:
    # attention heads; None: chosen from width
    heads: int | None = None
    # dropout probability
    dropout: float = 0.25


def command(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    speed: Literal["fast", "slow"] = "fast",
    out: Annotated[Path | None, arg(aliases=("-o",))] = None,
    settings: Settings = Settings(),
    size: str | None = None,
    report: bool = True,
    quiet: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Do something.

    It takes a while.

    Examples:
        pinxit do runs/x

    Args:
        run: run folder
        speed: how
        out: where to
        size: how large; None: as it is
        report: write a report
        quiet: print nothing
    """


PAGE = """\
usage: pinxit do RUN [options]

Do something.

It takes a while.

examples:
  pinxit do runs/x

arguments:
  RUN                     run folder

options:
  --size SIZE             how large (default: as it is)
  --speed fast|slow       how (default: fast)
  --heads N               attention heads (default: chosen from width)
  --dropout N             dropout probability (default: 0.25)
  -o, --out PATH          where to

output:
  --report, --no-report   write a report (default: yes)

general:
  --quiet                 print nothing
  -h, --help              show this page"""


def test_a_help_page_is_rendered_from_signature_docstring_and_comments(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert help_page("do", command) == PAGE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_is_plain_and_fits_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    page = help_page(name, FUNCTIONS[name])
    lines = page.splitlines()
    assert max(map(len, lines)) <= 80
    for unwanted in ("{", "None", "(default: )", "[[", "STR", "─", "│", "FLOAT", "INT", "Path("):
        assert unwanted not in page, unwanted


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_help_follows_the_width_of_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    page = help_page("sample", FUNCTIONS["sample"])
    prose = [line for line in page.splitlines() if not line.startswith("  pinxit")]
    assert max(map(len, prose)) <= max(50, min(columns, 100))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_everybody_needs_stands_first(name):
    page = help_page(name, FUNCTIONS[name])
    flags = re.findall(r"^  (?:-\w, )?--([\w-]+)", page.partition("options:")[2], re.MULTILINE)
    names = [flag.replace("-", "_") for flag in flags]
    common = [name for name in COMMON if name in names]
    assert common == sorted(common, key=names.index)
    if common and common[0] != "out":
        assert names[0] == common[0]


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n.startswith("train ")])
def test_options_of_training_are_grouped(name):
    page = help_page(name, FUNCTIONS[name])
    headings = re.findall(r"^(\w+):$", page, re.MULTILINE)
    order = ["examples", "arguments", "options", "data", "model", "training", "output", "general"]
    assert [h for h in order if h in headings] == headings
    assert {"options", "model", "training", "output"} <= set(headings)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_command_has_examples_that_begin_with_its_name(name):
    examples = read_docstring(FUNCTIONS[name]).examples
    assert 1 <= len(examples) <= 3
    assert all(re.search(rf"\bpinxit {name}\b", example) for example in examples)


def test_every_option_has_a_text():
    for name, function in FUNCTIONS.items():
        empty = [option.name for option in read_options(function) if not option.help]
        assert empty == [], name


def test_internal_fields_are_no_options():
    from pinxit.cli.options import read_options
    from pinxit.models import get_family

    for name in list_families():
        fields = dataclasses.fields(get_family(name).Config)
        internal = {field.name for field in fields if field.metadata.get("internal")}
        assert not internal & {option.name for option in read_options(family_command(name))}


def test_every_option_of_a_model_that_may_be_unset_says_what_is_chosen():
    from pinxit.cli.help import describe

    for name in list_families():
        for option in read_options(family_command(name)):
            if option.section == "model" and option.default is None:
                assert "(default: " in describe(option), f"{name} {option.flag}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_does_not_name_fields(name):
    """A field with an underscore is an option with hyphens."""
    names = {option.name for option in read_options(FUNCTIONS[name]) if "_" in option.name}
    page = re.sub(r"--\S+|\S+=\S+", "", help_page(name, FUNCTIONS[name]))
    if name == "compare":  # metrics and options of a run are named as in its files
        return
    assert not names & set(re.findall(r"\w+", page))


@pytest.mark.parametrize("name", ["sample", "complete"])
def test_options_that_need_a_text_are_on_commands_with_a_text(name):
    page, with_text = help_page(name, FUNCTIONS[name]), help_page("draw", FUNCTIONS["draw"])
    for flag in ("--guidance", "--best-of", "--reranker"):
        # samples of a label are guided too
        assert (flag in page) == (name == "sample" and flag == "--guidance")
        assert flag in with_text
    assert "--temperature" in page


def test_the_default_temperature_is_that_of_the_command():
    for name, default in (("sample", "1"), ("draw", "1"), ("complete", "1"), ("edit", "0")):
        page = " ".join(help_page(name, FUNCTIONS[name]).split())
        assert re.search(r"--temperature N [^(]*\(default: (\d)\)", page)[1] == default


def test_each_family_has_its_own_summary():
    summaries = {read_docstring(family_command(name)).summary for name in list_families()}
    assert len(summaries) == len(list_families())


def test_examples_of_training_on_captions_have_captions():
    for example in read_docstring(family_command("seq2seq")).examples:
        assert "shapes" in example or "caption" in example
