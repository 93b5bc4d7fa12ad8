"""Pages of a list, as OpenAI's clients walk through them: `limit`, `after`, `order`, `has_more`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Query

from pinxit.serve.errors import ApiError, truncate

Order = Literal["asc", "desc"]
ItemLimit = Annotated[int, Query(ge=1, le=100)]
FileLimit = Annotated[int, Query(ge=1, le=10_000)]


def list_page(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Return OpenAI's list object. `has_more`: whether others come after the last one."""
    first, last = (data[0].get("id"), data[-1].get("id")) if data else (None, None)
    return {
        "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more,
    }  # fmt: skip


def select_page(
    records: Sequence[dict[str, Any]], limit: int, after: str | None, order: Order
) -> dict[str, Any]:
    """Return the page of records, oldest first, that follows the one with the id `after`.

    Raises ApiError if no record has this id.
    """
    ordered = list(records if order == "asc" else reversed(records))
    start = 0
    if after is not None:
        ids = [record.get("id") for record in ordered]
        if after not in ids:
            raise unknown_cursor(after)
        start = ids.index(after) + 1
    page = ordered[start : start + limit]
    return list_page(page, has_more=start + limit < len(ordered))


def unknown_cursor(after: str) -> ApiError:
    """400: no item of the list has the id `after`."""
    return ApiError(f"No item of this list has the id '{truncate(after)}'.", param="after")
