"""Parse the items of a conversation: messages, calls, generated images, references to any."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.sources import RequestImages
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.schemas import ImageRef
from pinxit.serve.validation import validate

MAX_TEXT_CHARS = 200_000  # of one part of a message
# of tools of the client, which may answer with images
ANSWERS = ("function_call_output", "custom_tool_call_output", "computer_call_output")
ROLES = ("user", "assistant", "system", "developer")


class Message(NamedTuple):
    """A text and who wrote it, or a call of one of the client's functions."""

    role: str
    text: str
    call: dict[str, str] | None = None  # its id, name and arguments
    call_id: str = ""  # of what a tool answered


LoadImage = Callable[[], UploadedImage | None]
# the messages of an item, and its images: of many items only the last ones are loaded
ItemContent = tuple[list[Message], list[LoadImage]]


def parse_item(item: dict[str, Any], param: str, loader: RequestImages) -> ItemContent:
    """Return the messages and images of an item. Raises ApiError if it is invalid or unknown."""
    item_type = item.get("type")
    if item_type == "message":
        if item.get("role") not in ROLES:
            raise ApiError(f"The role must be one of {', '.join(ROLES)}.", param=f"{param}.role")
        return _parse_content(item, f"{param}.content", loader)
    if item_type == "image_generation_call":
        return [], [lambda: _load_generated(item, param, loader)]
    if item_type == "item_reference":
        return _parse_reference(item, param, loader)
    if item_type in ANSWERS and not isinstance(item.get("output"), str):
        return _parse_answer(item, f"{param}.output", loader)
    if isinstance(item_type, str) and re.search(r"_call(_output)?$|^mcp_|^reasoning$", item_type):
        return _parse_tool_item(item), []
    message = f"Input items of type '{truncate(item_type)}' are not supported."
    raise ApiError(message, param=f"{param}.type")


def _parse_reference(item: dict[str, Any], param: str, loader: RequestImages) -> ItemContent:
    """Parse the stored item that a reference names. Raises ApiError (404) for an unknown one."""
    item_id = item.get("id")
    if isinstance(item_id, str):
        if item_id.startswith("rs_"):  # reasoning of another server: there is none here
            return [], []
        found = loader.load_item(item_id)
        if found is not None:
            return parse_item(found, param, loader)
        image = loader.load_generated(item_id, f"{param}.id")  # stored by an earlier version
        if image is not None:
            return [], [lambda: image]
    message = f"The item '{truncate(item_id)}' does not exist."
    raise ApiError(message, status=404, param=f"{param}.id")


def _parse_answer(item: dict[str, Any], param: str, loader: RequestImages) -> ItemContent:
    """Parse what a tool of the client answered in parts, or a screenshot."""
    output = item.get("output")
    if isinstance(output, dict) and output.get("type") == "computer_screenshot":
        output = [{**output, "type": "input_image"}]
    if output is None:
        return [], []
    text, loads = _parse_parts(output, param, loader)
    return [Message("tool", text, call_id=str(item.get("call_id", "")))], loads


def _parse_tool_item(item: dict[str, Any]) -> list[Message]:
    """Return a call of one of the client's functions, or what a tool answered; else nothing."""
    output, call_id = item.get("output"), str(item.get("call_id", ""))
    if isinstance(output, list):
        parts = [part.get("text") for part in output if isinstance(part, dict)]
        output = "\n".join(part for part in parts if isinstance(part, str))
    if isinstance(output, str):
        return [Message("tool", output, call_id=call_id)]
    if item["type"] != "function_call":
        return []
    call = {"id": call_id, "name": str(item.get("name")), "arguments": str(item.get("arguments"))}
    return [Message("assistant", "", call=call)]


def _parse_content(item: dict[str, Any], param: str, loader: RequestImages) -> ItemContent:
    parts = item.get("content")
    if parts is None and item["role"] == "assistant":
        return [], []
    text, loads = _parse_parts(parts, param, loader)
    return ([Message(item["role"], text)] if text.strip() else []), loads


def _parse_parts(parts: object, param: str, loader: RequestImages) -> tuple[str, list[LoadImage]]:
    """Return the text of a list of parts, and its images."""
    if not isinstance(parts, list):
        raise ApiError("The content must be a string or a list of parts.", param=param)
    texts: list[str] = []
    loads: list[LoadImage] = []
    for i, part in enumerate(parts):
        part_param = f"{param}[{i}]"
        part_type = part.get("type") if isinstance(part, dict) else None
        if part_type in ("input_text", "output_text", "text"):
            texts.append(_parse_text(part.get("text"), f"{part_param}.text"))
        elif part_type == "input_image":
            ref = validate(part, ImageRef, part_param)
            loads.append(partial(loader.load, ref, part_param))
        elif part_type != "refusal":
            message = f"Content of type '{truncate(part_type)}' is not supported."
            raise ApiError(message, param=f"{part_param}.type")
    return "\n".join(texts), loads


def _parse_text(text: object, param: str) -> str:
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARS:
        message = f"The text must be a string of at most {MAX_TEXT_CHARS:,} characters."
        raise ApiError(message, param=param)
    return text


def _load_generated(
    item: dict[str, Any], param: str, loader: RequestImages
) -> UploadedImage | None:
    """Load the image of an image_generation_call: sent back whole, or by its id alone."""
    result, item_id = item.get("result"), item.get("id")
    if isinstance(result, str) and result:
        return loader.load_base64(result, f"{param}.result")
    image = loader.load_generated(item_id, f"{param}.id") if isinstance(item_id, str) else None
    if image is not None:
        return image
    raise ApiError(
        f"The image '{truncate(item_id)}' does not exist.",
        status=404,
        param=f"{param}.id",
        code="image_file_not_found",
    )
