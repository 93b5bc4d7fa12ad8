"""What MkDocs does not do by itself: pages that are written elsewhere, and mathematics.

The tour is README.md, the recipes are recipes/README.md, and the commands are described by their
own `--help`, so that no page can differ from what it describes. In the page of a family a mark
becomes a table: `<!-- options: vae -->` one of its options, `<!-- measured: igpt-mnist -->` one of
what these recipes measured. Formulas become MathML when the site is built: it needs no script and
no fonts from elsewhere.
"""

from __future__ import annotations

import contextlib
import html
import io
import itertools
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

from pinxit import console
from pinxit.cli import COMMANDS, main
from pinxit.cli.options import Option, read_options
from pinxit.cli.train import family_command
from pinxit.evaluation.metrics import METRICS, get_metric
from pinxit.models import list_families

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"^<!-- (?P<kind>options|measured): (?P<names>[^>]+?) -->$", re.MULTILINE)
DIAGNOSTICS = ("log_likelihood_", "iw_", "pareto_", "effective_", "palette_loss")
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files from outside the folder of the documentation."""
    readme = (ROOT / "README.md").read_text("utf-8").replace("](docs/", "](")
    recipes = (ROOT / "recipes" / "README.md").read_text("utf-8").replace("](../docs/", "](../")
    pages = {
        "index.md": readme.replace("](recipes/README.md)", "](recipes/index.md)"),
        "recipes/index.md": recipes,
        "commands.md": describe_commands(),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    for pattern in ("recipes/*.toml", "examples/*.ipynb"):
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to recipes, examples and README.md lead to their copies; fill in the tables."""
    markdown = re.sub(r"\]\((\.\./)?\.\./README\.md", r"](\1index.md", markdown)
    markdown = re.sub(r"\]\((\.\./)?\.\./(recipes|examples)/", r"](\1\2/", markdown)
    return MARK.sub(lambda match: TABLES[match["kind"]](match["names"]), markdown)


def list_options(family: str) -> str:
    """Return a table of the options of a family's training, from the real parser."""
    options = [o for o in read_options(family_command(family)) if o.section == "model"]
    rows = ["| option | default | what it does |", "| --- | --- | --- |"]
    for option in options:
        default = "" if option.default is None else describe_default(option)
        rows.append(f"| `{option.flag}` | {default} | {escape_cell(option.help)} |")
    more = f"`pinxit train {family} --help` has those of data and training, too."
    return "\n".join([*rows, "", more])


def describe_default(option: Option) -> str:
    """Return the default of an option as it is written on the command line."""
    value = option.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def escape_cell(text: str) -> str:
    """Escape what would end a cell of a table or begin markup."""
    return re.sub(r"([|*_<>\[\]])", r"\\\1", " ".join(text.split()))


def list_measured(names: str) -> str:
    """Return tables of what recipes measured: metrics with their standard errors, by run."""
    parts = []
    for name in re.split(r",\s*", names):
        record = tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text("utf-8"))
        measured = record["measured"]
        made = [str(measured[key]) for key in ("machine", "date", "commit") if key in measured]
        parts.append(f"**[{record['title']}](../recipes/{name}.toml)**: {', '.join(made)}")
        for where, metrics in itertools.groupby(read_measured(measured), lambda row: row[0]):
            rows = [f"| {where or 'run'} | |", "| --- | --- |"]
            for _, metric, value, error in metrics:
                known, shown = get_metric(metric), console.format_estimate(value, error)
                title = escape_cell(f"{known.group}: {known.title}")
                rows.append(f"| {title} | {shown} {known.unit} |")
            parts.append("\n".join(rows))
    return "\n\n".join(parts)


def is_main_metric(name: str) -> bool:
    """Return whether a metric says that a model is good, and is no diagnostic of another one."""
    known = METRICS.get(name.split(":")[0])
    return known is not None and bool(known.better) and not name.startswith(DIAGNOSTICS)


def read_measured(measured: dict[str, Any]) -> Iterator[tuple[str, str, float, float | None]]:
    """Yield run and split, name, value and error (None: not recorded) of each metric."""
    for key, value in measured.items():
        if isinstance(value, dict):
            for name, (number, error) in value.items():
                if is_main_metric(name):
                    yield key, name, number, error or None
        elif is_main_metric(key):
            yield "", key, value, None


TABLES: dict[str, Callable[[str], str]] = {"options": list_options, "measured": list_measured}


def on_page_content(content: str, **_: Any) -> str:
    """Turn formulas in LaTeX into MathML."""

    def to_mathml(match: re.Match[str]) -> str:
        latex = html.unescape(match["latex"])
        if match["tag"] == "span":
            return convert(latex, display="inline")
        return f'<div class="formula">{convert(latex, display="block")}</div>'

    return FORMULA.sub(to_mathml, content)


def describe_commands() -> str:
    """Return a page with what each command prints for `--help`."""
    parts = ["# Command line\n\nWhat each command prints for `--help`.\n"]
    for words in [[], *([name] for name in COMMANDS), *(["train", f] for f in list_families())]:
        with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
            main([*words, "--help"])
        title = " ".join(["pinxit", *words])
        parts.append(f"## {title}\n\n```text\n{output.getvalue().strip()}\n```\n")
    return "\n".join(parts)
