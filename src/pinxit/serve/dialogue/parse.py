"""Parse a request to /v1/responses: the conversation so far, its last image, the tool, the mask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from pinxit.models.generation import GenerationParams
from pinxit.serve.dialogue.structured import Format, parse_format
from pinxit.serve.dialogue.tool_choice import is_tool_type, parse_tool_choice
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.sources import RequestImages
from pinxit.serve.media.uploads import EditMask, UploadedImage, check_pixel_budget, parse_size
from pinxit.serve.prompts import wants_text
from pinxit.serve.schemas import ImageGenerationTool, ImageRef, ResponsesRequest
from pinxit.serve.store import Store, StoredResponse, new_id
from pinxit.serve.validation import validate

MAX_TURNS = 30  # earlier responses that are read
MAX_TEXT_CHARS = 200_000  # of one part of a message
# what a request may include; log probabilities are refused, and of the others there is nothing
INCLUDABLE = (
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url",
    "code_interpreter_call.outputs", "reasoning.encrypted_content", "message.output_text.logprobs",
)  # fmt: skip
ROLES = ("user", "assistant", "system", "developer")


class Message(NamedTuple):
    """A text and who wrote it, or a call of one of the client's functions."""

    role: str
    text: str
    call: dict[str, str] | None = None  # its id, name and arguments
    call_id: str = ""  # of what a tool answered


@dataclass(frozen=True)
class Conversation:
    """The messages of all turns, oldest first, and the images of the last item that has any."""

    messages: list[Message] = field(default_factory=list)
    images: list[UploadedImage] = field(default_factory=list)

    @property
    def image(self) -> UploadedImage | None:
        """The last image."""
        return self.images[-1] if self.images else None

    @property
    def user_prompts(self) -> list[str]:
        return [message.text for message in self.messages if message.role == "user"]

    @property
    def prompt(self) -> str:
        """The user's last message."""
        return next(reversed(self.user_prompts), "")


@dataclass(frozen=True)
class ParsedRequest:
    """A valid request with everything it refers to."""

    request: ResponsesRequest
    conversation: Conversation
    input_items: list[dict[str, Any]]  # as /input_items returns them
    tool: ImageGenerationTool | None
    tool_choice: str  # auto, none or image
    mask: EditMask | None
    params: GenerationParams
    format: Format = str  # of a text in the answer
    functions: tuple[dict[str, Any], ...] = ()  # of the client, for a language model to call
    forced_function: str | None = None  # which of them it has to call
    stop: tuple[str, ...] = ()  # a language model stops before these

    @property
    def needs_image(self) -> bool:
        """Whether to answer with an image, unless a language model decides."""
        if self.tool is None or self.tool_choice == "none":
            return False
        if self.tool_choice == "image" or self.tool.action in ("generate", "edit"):
            return True
        return not (self.conversation.image and wants_text(self.conversation.prompt))

    @property
    def edit_source(self) -> UploadedImage | None:
        """The image to edit; None for a new image."""
        is_new = self.tool is not None and self.tool.action == "generate"
        return None if is_new else self.conversation.image


def parse_request(
    request: ResponsesRequest, store: Store, loader: RequestImages, *, with_llm: bool = False
) -> ParsedRequest:
    """Load the images and responses of a request. Raises ApiError if one is invalid or unknown.

    Only a mask is decoded. `with_llm`: a language model answers, which calls functions and fills
    any schema.
    """
    _check_included(request)
    tool, functions = _parse_tools(request)
    choice = parse_tool_choice(request.tool_choice, with_llm)
    functions = choice.filter(functions)
    tool = tool if choice.allows_image else None
    tool_choice = choice.mode
    if tool_choice == "required" and not (functions and with_llm):
        tool_choice = "image"
    if tool_choice == "image" and tool is None:
        message = "'tool_choice' asks for the tool image_generation, which is not in 'tools'."
        raise ApiError(message, param="tool_choice")
    options = request.text and request.text.format
    text_format = str if with_llm else parse_format(options, "text.format")
    input_items = _parse_input_items(request)
    messages, earlier_loads = _load_earlier_turns(request.previous_response_id, store, loader)
    images: list[UploadedImage] = []
    for i, item in enumerate(input_items):
        new_messages, loads = _parse_item(item, f"input[{i}]", loader)
        messages += new_messages
        images = [image for load in loads if (image := load()) is not None] or images
    images = images or _load_last_images(earlier_loads)
    conversation = Conversation(messages, images)
    image = conversation.image
    if image is None and not any(message.text.strip() for message in messages):
        raise ApiError("The input has neither text nor an image.", param="input")
    if image is None and tool is not None and tool.action == "edit":
        raise ApiError("There is no image to edit.", param="tools[0].action")
    mask = _load_mask(tool, images, loader)
    params = (tool or ImageGenerationTool()).to_params(request.seed)
    return ParsedRequest(
        request,
        conversation,
        input_items,
        tool,
        tool_choice,
        mask,
        params,
        text_format,
        functions,
        choice.forced,
    )


# -- fields of the request ------------------------------------------------------------------------


def _check_included(request: ResponsesRequest) -> None:
    """Raises ApiError for what a response cannot include. What it never has is included empty."""
    for i, name in enumerate(request.include or []):
        if name == "message.output_text.logprobs" or name not in INCLUDABLE:
            message = f"'{truncate(name)}' cannot be included."
            raise ApiError(message, param=f"include[{i}]", code="unsupported_parameter")


def _parse_tools(
    request: ResponsesRequest,
) -> tuple[ImageGenerationTool | None, tuple[dict[str, Any], ...]]:
    """Return the image_generation tool, the last if there are several, and the functions.

    Tools of other kinds are offers that nobody takes.
    """
    parsed, functions = None, []
    for i, tool in enumerate(request.tools or []):
        param = f"tools[{i}]"
        if not isinstance(tool.get("type"), str):
            raise ApiError("A tool needs a type.", param=f"{param}.type")
        if tool["type"] == "function":
            if not isinstance(tool.get("name"), str):
                raise ApiError("A function needs a name.", param=f"{param}.name")
            functions.append(tool)
        if is_tool_type(tool["type"]):
            continue
        if tool["type"] != "image_generation":
            message = f"Unknown tool type '{truncate(tool['type'])}'."
            raise ApiError(message, param=f"{param}.type")
        parsed = validate(tool, ImageGenerationTool, param)
        parse_size(parsed.size, f"{param}.size")
        if parsed.background == "transparent" and parsed.output_format == "jpeg":
            raise ApiError("A JPEG cannot be transparent.", param=f"{param}.background")
    return parsed, tuple(functions)


def _parse_input_items(request: ResponsesRequest) -> list[dict[str, Any]]:
    if isinstance(request.input, str):
        if not request.input.strip():
            raise ApiError("The input is empty.", param="input")
        part = {"type": "input_text", "text": request.input}
        return [_complete_item({"type": "message", "role": "user", "content": [part]})]
    if not request.input:
        raise ApiError("The input is empty.", param="input")
    return _with_own_ids([_complete_item(item) for item in request.input])


def _complete_item(item: dict[str, Any]) -> dict[str, Any]:
    """Complete the short form of an item: add type, id, status and list of parts."""
    item = {"type": "message" if "role" in item else None, **item}
    if item["type"] == "message":
        item = {"id": new_id("msg"), "status": "completed", **item}
        if isinstance(item.get("content"), str):
            part_type = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": part_type, "text": item["content"]}]
    return item


def _with_own_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each item an id that no other has: pages of the list begin after one."""
    seen: set[str] = set()
    completed = []
    for item in items:
        item_id = item.get("id")
        if isinstance(item_id, str) and item_id not in seen:
            seen.add(item_id)
        elif item["type"] not in ("image_generation_call", "item_reference"):
            item = {**item, "id": new_id("item")}
        completed.append(item)
    return completed


def _load_mask(
    tool: ImageGenerationTool | None, images: list[UploadedImage], loader: RequestImages
) -> EditMask | None:
    """Load and decode the mask, once all images of the request are within its budget of pixels."""
    if tool is None or tool.input_image_mask is None:
        check_pixel_budget(images, "input")
        return None
    param = "tools[0].input_image_mask"
    if not images:
        raise ApiError("A mask needs an image.", param=param)
    mask = loader.load(tool.input_image_mask, param)
    check_pixel_budget([*images, mask], "input")
    return EditMask.from_upload(mask, images[-1], param)


# -- items of this and earlier turns --------------------------------------------------------------

LoadImage = Callable[[], UploadedImage | None]
# the messages of an item, and its images: of many items only the last ones are loaded
ItemContent = tuple[list[Message], list[LoadImage]]


def _parse_item(item: dict[str, Any], param: str, loader: RequestImages) -> ItemContent:
    item_type = item.get("type")
    if item_type == "message":
        if item.get("role") not in ROLES:
            raise ApiError(f"The role must be one of {', '.join(ROLES)}.", param=f"{param}.role")
        return _parse_content(item, f"{param}.content", loader)
    if item_type in ("image_generation_call", "item_reference"):
        return [], [lambda: _load_generated_image(item, param, loader)]
    if isinstance(item_type, str) and re.search(r"_call(_output)?$|^mcp_|^reasoning$", item_type):
        return _parse_tool_item(item), []
    message = f"Input items of type '{truncate(item_type)}' are not supported."
    raise ApiError(message, param=f"{param}.type")


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
    text = "\n".join(texts)
    return ([Message(item["role"], text)] if text.strip() else []), loads


def _parse_text(text: object, param: str) -> str:
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARS:
        message = f"The text must be a string of at most {MAX_TEXT_CHARS:,} characters."
        raise ApiError(message, param=param)
    return text


def _load_generated_image(
    item: dict[str, Any], param: str, loader: RequestImages
) -> UploadedImage | None:
    """Load the image of an image_generation_call: sent back whole, or by its id alone."""
    result, item_id = item.get("result"), item.get("id")
    if isinstance(result, str) and result:
        return loader.load_base64(result, f"{param}.result")
    image = loader.load_generated(item_id, f"{param}.id") if isinstance(item_id, str) else None
    if image is not None:
        return image
    is_message = isinstance(item_id, str) and item_id.startswith("msg_")
    if item["type"] == "item_reference" and is_message:
        return None
    raise ApiError(
        f"The image '{truncate(item_id)}' does not exist.",
        status=404,
        param=f"{param}.id",
        code="image_file_not_found",
    )


def _load_earlier_turns(
    response_id: str | None, store: Store, loader: RequestImages
) -> tuple[list[Message], list[list[LoadImage]]]:
    """Return the messages of the earlier turns, and the images of each of their items."""
    messages: list[Message] = []
    loads: list[list[LoadImage]] = []
    turns = list(_load_chain(response_id, store))
    for body, input_items in reversed(turns):
        for item in [*input_items, *body["output"]]:
            try:
                content = _parse_item(item, "previous_response_id", loader)
            except ApiError:  # of another version of this server
                continue
            messages += content[0]
            loads.append(content[1])
    return messages, loads


def _load_last_images(items: list[list[LoadImage]]) -> list[UploadedImage]:
    """Return the images of the last item of which there are any: files may have expired since."""
    for loads in reversed(items):
        images = []
        for load in loads:
            try:
                images.append(load())
            except ApiError:
                continue
        if found := [image for image in images if image is not None]:
            return found
    return []


def _load_chain(response_id: str | None, store: Store) -> Iterator[StoredResponse]:
    """Yield the earlier responses, newest first."""
    for turn in range(MAX_TURNS):
        if response_id is None:
            return
        response = store.load_response(response_id)
        if response is None:
            if turn:  # it has expired
                return
            raise ApiError(
                f"The response '{truncate(response_id)}' does not exist.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        if response.body["status"] == "in_progress":
            message = f"The response '{truncate(response_id)}' has not ended yet."
            raise ApiError(message, param="previous_response_id")
        yield response
        response_id = response.body.get("previous_response_id")
