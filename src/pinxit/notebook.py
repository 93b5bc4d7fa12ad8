"""Output of a notebook's cell that is updated in place."""

from __future__ import annotations

import base64
import html
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote


def in_notebook() -> bool:
    """Return whether the program runs in the kernel of a notebook: Jupyter, Colab, VS Code."""
    ipython = sys.modules.get("IPython")  # imported by the kernel, before any cell
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


class CellOutput:
    """One output of the cell that is running; `show` replaces its content."""

    def __init__(self) -> None:
        self._handle: Any = None
        self.is_empty = True

    def show(self, content: str, text: str) -> None:
        """Show HTML; `text` says the same to what shows no HTML."""
        bundle = {"text/html": content, "text/plain": text}
        self.is_empty = not content
        if self._handle is not None:
            self._handle.update(bundle, raw=True)
            return
        from IPython.display import display

        self._handle = display(bundle, raw=True, display_id=True)

    def show_progress(self, label: str, fraction: float | None) -> None:
        """Show a bar of 0 to 1, or without an end, and a text beside it."""
        value = "" if fraction is None else f' value="{min(1.0, max(0.0, fraction)):.4f}"'
        self.show(
            f'<progress{value} max="1" style="width: 12em; vertical-align: middle"></progress> '
            f"{html.escape(label)}",
            label,
        )

    def show_image(self, png: bytes, alternative: str) -> None:
        self.show(image_tag(png, alternative, "width: 24em"), f"[{alternative}]")

    def clear(self) -> None:
        """Show nothing, if anything was shown."""
        if self._handle is not None:
            self.show("", "")


def image_tag(png: bytes, alternative: str, style: str) -> str:
    """Return an HTML element with the image in it."""
    data = base64.b64encode(png).decode("ascii")
    text = html.escape(alternative, quote=True)
    return f'<img alt="{text}" style="{style}" src="data:image/png;base64,{data}">'


def link_tag(path: Path, text: str) -> str:
    """Return a link to a file: relative to the notebook's folder, where it is below that."""
    try:
        target = path.resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        target = str(path)
    return f'<a href="{quote(target)}" target="_blank">{html.escape(text)}</a>'
