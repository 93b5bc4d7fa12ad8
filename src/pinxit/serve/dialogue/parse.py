"""Parse a request to /v1/responses: the conversation so far, its last image, the tool, the mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pinxit.models.generation import GenerationParams
from pinxit.serve.dialogue.earlier_turns import load_earlier_turns, load_last_images
from pinxit.serve.dialogue.items import Message, parse_item
from pinxit.serve.dialogue.structured import Format, parse_format
from pinxit.serve.dialogue.tool_choice import is_tool_type, parse_tool_choice
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.outputs import check_options
from pinxit.serve.media.sources import RequestImages
from pinxit.serve.media.uploads import EditMask, UploadedImage, check_pixel_budget
from pinxit.serve.prompts import wants_text
from pinxit.serve.schemas import ImageGenerationTool, ResponsesRequest
from pinxit.serve.store import Store, new_id
from pinxit.serve.validation import validate

# what a request may include; log probabilities are refused, and of the others there is nothing
INCLUDABLE = (
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url",
    "code_interpreter_call.outputs", "reasoning.encrypted_content", "message.output_text.logprobs",
)  # fmt: skip


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
    llm_options: dict[str, Any] = field(default_factory=dict)  # of a chat, for a language model

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
    messages, earlier_loads = load_earlier_turns(request.previous_response_id, store, loader)
    images: list[UploadedImage] = []
    for i, item in enumerate(input_items):
        new_messages, loads = parse_item(item, f"input[{i}]", loader)
        messages += new_messages
        images = [image for load in loads if (image := load()) is not None] or images
    images = images or load_last_images(earlier_loads)
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
        has_mask = parsed.input_image_mask is not None
        check_options(parsed, f"{param}.", has_mask=has_mask)
        if has_mask and parsed.action == "generate":
            message = "A mask is for the action 'edit'; a new image has none."
            raise ApiError(message, param=f"{param}.input_image_mask")
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
