"""What the package's metadata take from outside pyproject.toml: the README with absolute links.

Relative links and images work in a clone and nowhere else. `PINXIT_URL=https://HOST/OWNER/pinxit`
makes them absolute, at the tag of the version, and sets the project URLs (`make dist URL=...`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

IMAGE_SUFFIXES = (".png", ".gif", ".jpg", ".svg", ".webp")
RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#|/)([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


class ReadmeAndUrls(MetadataHookInterface):
    """Sets the fields that pyproject.toml lists as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README's text and, where PINXIT_URL is given, the project URLs."""
        text = Path(self.root, "README.md").read_text("utf-8")
        url = os.environ.get("PINXIT_URL", "").rstrip("/")
        if url:
            text = make_links_absolute(text, url, f"v{metadata['version']}")
            metadata["urls"] = project_urls(url)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def make_links_absolute(text: str, url: str, tag: str) -> str:
    """Return Markdown with absolute links to a repository's tag, code blocks left as they are."""

    def replace(match: re.Match[str]) -> str:
        path, _, anchor = match[1].partition("#")
        view = "raw" if path.lower().endswith(IMAGE_SUFFIXES) else "blob"
        return f"]({url}/{view}/{tag}/{path}{'#' * bool(anchor)}{anchor})"

    parts = FENCE.split(text)
    parts[::2] = [RELATIVE_LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def project_urls(url: str) -> dict[str, str]:
    """Return the project URLs of a repository."""
    return {"Homepage": url, "Documentation": f"{url}/tree/main/docs", "Issues": f"{url}/issues"}
