"""JSON with images. A large one is sent in parts, between which the server does other work.

To write 85 MB of base64 into one text, and to send it at once, kept all other requests waiting for
0.7 s.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

from pinxit.serve.memory import release_free_memory

MAX_WHOLE_CHARS = 2**20  # of the base64 of an image that is sent at once
PART_CHARS = 2**20
IMAGE_KEYS = {"data": "b64_json", "output": "result"}  # where the images of a list are


def image_response(body: Mapping[str, Any]) -> Response:
    """Return the HTTP response of a body with `data` of images, or with an `output` of items."""
    images, bare = _take_images(body)
    if not images:
        return JSONResponse(body)
    texts = _split_at(bare, list(images))
    length = sum(map(len, texts)) + sum(map(len, images.values()))
    headers = {"content-length": str(length)}
    parts = _interleave(texts, list(images.values()))
    return StreamingResponse(parts, media_type="application/json", headers=headers)


def _take_images(body: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return large images by a random text that stands for each, and the body with these texts.

    The images are in the order in which they stand in the body.
    """
    images, bare = {}, dict(body)
    for name, items in body.items():
        key = IMAGE_KEYS.get(name)
        if key is None or not isinstance(items, list):
            continue
        bare[name] = []
        for item in items:
            value = item.get(key) if isinstance(item, dict) else None
            if isinstance(value, str) and len(value) > MAX_WHOLE_CHARS and _is_ours(item):
                mark = secrets.token_hex(16)
                images[mark] = value
                item = {**item, key: mark}
            bare[name].append(item)
    return images, bare


def _is_ours(item: Mapping[str, Any]) -> bool:
    """Return whether the image of an item is base64 of this server, which JSON has as it is."""
    return "b64_json" in item or item.get("type") == "image_generation_call"


def _split_at(bare: dict[str, Any], marks: list[str]) -> list[bytes]:
    rest = json.dumps(bare, ensure_ascii=False, separators=(",", ":")).encode()
    texts = []
    for mark in marks:
        text, rest = rest.split(mark.encode(), 1)
        texts.append(text)
    return [*texts, rest]


async def _interleave(texts: list[bytes], images: list[str]) -> AsyncIterator[bytes]:
    try:
        for text, image in zip(texts, images, strict=False):
            yield text
            for part in _split(image):
                yield part
                await asyncio.sleep(0)  # other requests, even if the client reads at once
        yield texts[-1]
    finally:
        images.clear()
        await asyncio.to_thread(release_free_memory)


def _split(image: str) -> Iterator[bytes]:
    for start in range(0, len(image), PART_CHARS):
        yield image[start : start + PART_CHARS].encode()
