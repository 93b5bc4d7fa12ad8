"""What MkDocs does not do by itself: pages that are written elsewhere, and mathematics.

The tour is README.md, the recipes are recipes/README.md, and the commands are described by their
own `--help`, so that no page can differ from what it describes. Formulas become MathML when the
site is built: it needs no script and no fonts from elsewhere.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

from pinxit.cli import COMMANDS, main
from pinxit.models import list_families

ROOT = Path(__file__).parent.parent
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
    """Let links to recipes and examples lead to their copies in the site."""
    return re.sub(r"\]\(\.\./(recipes|examples)/", r"](\1/", markdown)


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
