"""Lists as OpenAI's clients read them: without `has_more` they would ask for pages for ever."""

from __future__ import annotations

from typing import Any


def whole_list(data: list[dict[str, Any]]) -> dict[str, Any]:
    """All there is, on one page."""
    first, last = (data[0].get("id"), data[-1].get("id")) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False}
