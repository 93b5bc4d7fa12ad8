"""What the store keeps apart from a response: its images, and the ids of its items."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any


def split_images(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the body without its images, and the images by item id."""
    images: dict[str, bytes] = {}
    output = []
    for item in body["output"]:
        if item.get("type") == "image_generation_call" and item.get("result"):
            images[item["id"]] = base64.b64decode(item["result"])
            item = {**item, "result": None}
        output.append(item)
    return {**body, "output": output}, images


def index_items(
    body: dict[str, Any], input_items: list[dict[str, Any]], created: float
) -> Iterator[dict[str, Any]]:
    """Yield a row for each item that a later request may refer to by its id."""
    ids = {item.get("id") for item in [*input_items, *body["output"]] if is_item(item)}
    for item_id in ids:
        yield {"id": item_id, "response": body["id"], "created": created}


def is_item(item: dict[str, Any]) -> bool:
    """Return whether an item has an id of its own, as `new_id` makes them: nobody guesses those.

    A reference has the id of another item.
    """
    item_id = item.get("id")
    is_own = isinstance(item_id, str) and re.fullmatch(r"[a-z]{1,16}_[0-9a-f]{32}", item_id)
    return bool(is_own) and item.get("type") != "item_reference"
