"""The page at /docs: the routes of the API with their fields, without scripts."""

from __future__ import annotations

import html
from typing import Any

from fastapi import FastAPI


async def render_docs(app: FastAPI) -> str:
    """Render the OpenAPI document as HTML."""
    sections = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {})
            fields = [
                f"<li><code>{html.escape(name)}</code> {html.escape(_type_name(field))}</li>"
                for media in body.values()
                for name, field in media["schema"].get("properties", {}).items()
            ]
            title = f"<h2><b>{method.upper()}</b> {html.escape(path)}</h2>"
            items = "".join(dict.fromkeys(fields))  # JSON and form share most fields
            sections.append(title + (f"<ul>{items}</ul>" if items else ""))
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>pinxit API</title>"
    head += "<meta name=viewport content='width=device-width, initial-scale=1'>"
    style = "<link rel=stylesheet href=/studio/static/page.css><main class=docs>"
    intro = (
        "<p><a href=/>Back to the studio</a></p>"
        "<h1>API</h1><p>OpenAI's routes. Schema: <a href=/openapi.json>openapi.json</a></p>"
    )
    return f"{head}{style}{intro}{''.join(sections)}</main></html>"


def _type_name(field: dict[str, Any]) -> str:
    names = [
        ", ".join(map(str, kind["enum"])) if "enum" in kind else str(kind.get("type", ""))
        for kind in (field, *field.get("anyOf", []))
    ]
    return " or ".join(name for name in names if name and name != "null")
