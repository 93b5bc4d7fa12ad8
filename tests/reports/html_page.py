"""A parsed HTML page: its tags, its text, and errors of its markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID_TAGS = {"meta", "link", "img", "br", "hr", "input", "wbr"}


class HtmlPage(HTMLParser):
    """Parses a file; `markup_errors` and `unclosed` are empty if it is well formed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.unclosed: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.markup_errors: list[str] = []
        self._texts: list[str] = []
        self.html = path.read_text()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.unclosed or self.unclosed.pop() != tag:
            self.markup_errors.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if "style" not in self.unclosed:
            self._texts.append(data)
        if "`" in data and not {"style", "script", "code", "pre"} & set(self.unclosed):
            self.markup_errors.append(f"backticks as text: {data}")

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str]:
        return [str(attributes["id"]) for attributes in self.attributes("section")]

    @property
    def text(self) -> str:
        """All text of the page, white space collapsed."""
        return " ".join(" ".join(self._texts).split())
