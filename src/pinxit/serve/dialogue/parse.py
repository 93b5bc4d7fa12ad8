"""What a request to /v1/responses holds: words, images, what went before, and the tool."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pinxit.serve.errors import Refusal, short
from pinxit.serve.media.sources import Sources
from pinxit.serve.media.uploads import Sent, from_base64, mask_of, received, size_of
from pinxit.serve.prompts import asks_for_words
from pinxit.serve.schemas import Respond, Tool, Url, fields_of
from pinxit.serve.store import Store, new_id

TURNS = 30  # responses that are followed back
REFUSED = ("background", "conversation", "prompt")  # fields that would have to be obeyed
ROLES = ("user", "assistant", "system", "developer")


class Said(NamedTuple):
    """A text and who said it."""

    role: str
    text: str


@dataclass(frozen=True)
class Talk:
    """A conversation, oldest first, and its last image."""

    texts: list[Said] = field(default_factory=list)
    image: Sent | None = None

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return next((said.text for said in reversed(self.texts) if said.role == "user"), "")

    @property
    def prompts(self) -> list[str]:
        return [said.text for said in self.texts if said.role == "user"]


@dataclass(frozen=True)
class Turn:
    """A request, understood."""

    request: Respond
    talk: Talk
    given: list[dict[str, Any]]  # the input items, as /input_items gives them back
    tool: Tool | None
    choice: str  # auto, none or image
    mask: bytes | None
    seed: int

    @property
    def paints(self) -> bool:
        """Whether the answer is an image, where no language model decides."""
        if self.tool is None or self.choice == "none":
            return False
        if self.choice == "image" or self.tool.action in ("generate", "edit"):
            return True
        return not (self.talk.image and asks_for_words(self.talk.prompt))

    @property
    def source(self) -> Sent | None:
        """The image that is to be changed; None where a new one is asked for."""
        assert self.tool is not None
        return None if self.tool.action == "generate" else self.talk.image


def understood(request: Respond, store: Store, sources: Sources) -> Turn:
    """A request with all that it refers to. Raises Refusal for what is not there or cannot be."""
    for name in REFUSED:
        if getattr(request, name):
            raise Refusal(f"'{name}' is not done here.", param=name, code="unsupported_parameter")
    tool, choice = _tool_of(request), _choice_of(request)
    if choice == "image" and tool is None:
        raise Refusal(
            "tool_choice asks for a tool that 'tools' does not have.", param="tool_choice"
        )
    given = _items(request)
    texts, image = _before(request.previous_response_id, store, sources)
    for number, item in enumerate(given):
        text, own = _read(item, f"input[{number}]", store, sources)
        texts += text
        image = own or image
    if not any(said.text.strip() for said in texts) and image is None:
        raise Refusal("the input has neither words nor an image.", param="input")
    if tool is not None and tool.action == "edit" and image is None:
        raise Refusal("there is no image to edit.", param="tools[0].action")
    mask = _mask_of(tool, image, store, sources)
    seed = next((s for s in (tool and tool.seed, request.seed) if s is not None), None)
    seed = secrets.randbelow(2**31) if seed is None else seed
    return Turn(request, Talk(texts, image), given, tool, choice, mask, seed)


# -- the parts of a request -----------------------------------------------------------------------


def _tool_of(request: Respond) -> Tool | None:
    found = None
    for number, tool in enumerate(request.tools or []):
        if tool.get("type") != "image_generation":
            raise Refusal(
                f"the tool '{short(tool.get('type'))}' is not here; image_generation is.",
                param=f"tools[{number}].type",
                code="unsupported_parameter",
            )
        found = fields_of(tool, Tool, f"tools[{number}]")
        size_of(found.size, f"tools[{number}].size")
        if found.background == "transparent" and found.output_format == "jpeg":
            raise Refusal("a JPEG cannot be transparent.", param=f"tools[{number}].background")
    return found


def _choice_of(request: Respond) -> str:
    choice = request.tool_choice
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            mode, tools = choice.get("mode", "auto"), choice.get("tools")
            if mode not in ("auto", "required") or not isinstance(tools, list):
                raise Refusal("tool_choice's allowed tools are no list.", param="tool_choice")
            offered = any(
                isinstance(t, dict) and t.get("type") == "image_generation" for t in tools
            )
            return ("image" if mode == "required" else "auto") if offered else "none"
        choice = choice.get("type")
    if choice in ("required", "image_generation"):
        return "image"
    if choice in (None, "auto", "none"):
        return choice or "auto"
    raise Refusal(f"tool_choice cannot be '{short(choice)}'.", param="tool_choice")


def _items(request: Respond) -> list[dict[str, Any]]:
    if isinstance(request.input, str):
        if not request.input.strip():
            raise Refusal("the input is empty.", param="input")
        part = {"type": "input_text", "text": request.input}
        return [_named({"type": "message", "role": "user", "content": [part]})]
    if not request.input:
        raise Refusal("the input is empty.", param="input")
    return [_named(item) for item in request.input]


def _named(item: dict[str, Any]) -> dict[str, Any]:
    item = {"type": "message" if "role" in item else None, **item}
    if item["type"] == "message":
        item = {"id": new_id("msg"), "status": "completed", **item}
        if isinstance(item.get("content"), str):
            kind = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": kind, "text": item["content"]}]
    return item


def _read(
    item: dict[str, Any], param: str, store: Store, sources: Sources
) -> tuple[list[Said], Sent | None]:
    """The texts and the last image of one item."""
    kind = item.get("type")
    if kind == "message":
        if item.get("role") not in ROLES:
            raise Refusal(f"a role is one of {', '.join(ROLES)}.", param=f"{param}.role")
        return _content(item, f"{param}.content", store, sources)
    if kind in ("image_generation_call", "item_reference"):
        return [], _called(item, param, store)
    if kind == "reasoning":
        return [], None
    raise Refusal(f"an item '{short(kind)}' is not read here.", param=f"{param}.type")


def _content(
    item: dict[str, Any], param: str, store: Store, sources: Sources
) -> tuple[list[Said], Sent | None]:
    parts = item.get("content")
    if not isinstance(parts, list):
        raise Refusal("content is a text or a list of parts.", param=param)
    texts, image = [], None
    for number, part in enumerate(parts):
        here = f"{param}[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("input_text", "output_text", "text"):
            if not isinstance(part.get("text"), str) or len(part["text"]) > 200_000:
                raise Refusal("a text is a string of characters.", param=f"{here}.text")
            texts.append(part["text"])
        elif kind == "input_image":
            image = sources.of(fields_of(part, Url, here), here, store)
        elif kind != "refusal":
            raise Refusal(f"a part '{short(kind)}' is not read here.", param=f"{here}.type")
    text = "\n".join(texts)
    return ([Said(item["role"], text)] if text.strip() else []), image


def _called(item: dict[str, Any], param: str, store: Store) -> Sent | None:
    """The image of an image_generation_call: sent back whole, or by its id alone."""
    result, name = item.get("result"), item.get("id")
    if isinstance(result, str) and result:
        return received(from_base64(result, f"{param}.result"), f"{param}.result")
    content = store.image(name) if isinstance(name, str) else None
    if content is not None:
        return received(content, f"{param}.id")
    if item["type"] == "item_reference" and isinstance(name, str) and name.startswith("msg_"):
        return None
    raise Refusal(
        f"there is no image '{short(name)}' here.",
        status=404,
        param=f"{param}.id",
        code="image_file_not_found",
    )


def _mask_of(tool: Tool | None, image: Sent | None, store: Store, sources: Sources) -> bytes | None:
    if tool is None or tool.input_image_mask is None:
        return None
    param = "tools[0].input_image_mask"
    if image is None:
        raise Refusal("a mask needs an image.", param=param)
    return sources.of(tool.input_image_mask, param, store).content


def _before(name: str | None, store: Store, sources: Sources) -> tuple[list[Said], Sent | None]:
    """What was said in the responses before, and the last image in them."""
    texts: list[Said] = []
    image: Sent | None = None
    chain = list(_chain(name, store))
    for body, given in reversed(chain):
        for item in [*given, *body["output"]]:
            try:
                said, own = _read(item, "previous_response_id", store, sources)
            except Refusal:  # what a file's id stood for may be gone since
                continue
            texts += said
            image = own or image
    return texts, image


def _chain(name: str | None, store: Store) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for turn in range(TURNS):
        if name is None:
            return
        found = store.response(name)
        if found is None:
            if turn:  # an earlier one has passed its age
                return
            raise Refusal(
                f"there is no response '{short(name)}' here.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        yield found
        name = found[0].get("previous_response_id")


def checked_mask(turn: Turn, info: Any) -> None:
    """Raises Refusal for a mask that does not fit its image, before any work."""
    if turn.mask is not None and turn.talk.image is not None:
        mask_of(turn.mask, turn.talk.image, info, "tools[0].input_image_mask")
