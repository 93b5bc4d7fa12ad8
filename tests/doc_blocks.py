"""The code blocks of the documentation: what each says, and how it is tested.

A block is executed, unless the line before it says why not:

    <!-- not run: needs a cluster -->           only its options are parsed
    <!-- run by tests/serve/test_wire.py -->    another test executes it
    <!-- message of training/launcher.py -->    what the program prints, in a block of text
    <!-- files of vectors/ -->                  what a command before it wrote
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "recipes" / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "log.md"),
]
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+) -->\n)?^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```$", re.M | re.S
)
COMMANDS = ("console", "sh", "bash")
KINDS = (*COMMANDS, "python", "yaml", "text")
MARKS = ("not run: ", "run by ", "message of ", "files of ")


@dataclass(frozen=True)
class Block:
    """A block of a page; `mark` is the comment before it, "" for one that is executed."""

    page: Path
    line: int
    kind: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block, lines that end in a backslash joined; without outputs."""
        text = self.text.replace("\\\n", " ")
        lines = text.splitlines()
        if self.kind == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        yield Block(page, line, match["kind"].strip(), match["text"], match["mark"] or "")


def find_indented(page: Path) -> list[str]:
    """Return lines that Markdown takes for code because they are indented."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return re.findall(r"(?<=\n\n) {4}(?![-*\d]).+", text)


def find_inline_commands(page: Path) -> list[str]:
    """Return the commands of pinxit that stand in running text or in a table."""
    text = FENCE.sub("", page.read_text("utf-8"))
    return [c.replace("\\|", "|") for c in re.findall(r"(?<!`)`(pinxit [a-z][^`]*)`", text)]


def split_command(line: str) -> list[str]:
    """Split a line into words, without its comment."""
    return shlex.split(line, comments=True)
