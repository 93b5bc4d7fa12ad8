"""Which tools of a request may or must be called."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pinxit.serve.errors import ApiError, truncate

# tools of OpenAI's beside image_generation; some names are also dated (web_search_2025_08_26)
TOOL_TYPES = (
    "function", "custom", "file_search", "web_search", "web_search_preview", "computer",
    "computer_use", "computer_use_preview", "code_interpreter", "mcp", "shell", "local_shell",
    "apply_patch", "namespace", "tool_search", "programmatic_tool_calling",
)  # fmt: skip
_DATE = re.compile(r"_\d{4}_\d{2}_\d{2}$", re.ASCII)


def is_tool_type(text: object) -> bool:
    """Return whether a text is the type of a tool of OpenAI's beside image_generation."""
    return isinstance(text, str) and _DATE.sub("", text) in TOOL_TYPES


class ToolChoice(NamedTuple):
    """Which tools may or must be called."""

    mode: str  # auto, none, image or required
    forced: str | None = None  # a function that must be
    allowed: tuple[str, ...] | None = None  # functions that may be; None: all
    allows_image: bool = True  # the tool image_generation

    def filter(self, functions: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        """Return the functions that may be called. Raises ApiError for a forced one that is not."""
        if self.forced is not None and all(f["name"] != self.forced for f in functions):
            message = f"'{truncate(self.forced)}' is not among the functions in 'tools'."
            raise ApiError(message, param="tool_choice")
        if self.mode == "none":
            return ()
        return tuple(f for f in functions if self.allowed is None or f["name"] in self.allowed)


def parse_tool_choice(choice: str | dict[str, Any] | None, with_llm: bool) -> ToolChoice:
    """Parse a `tool_choice`. Raises ApiError for one that no model here can obey."""
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            return _parse_allowed_tools(choice)
        if choice.get("type") == "function" and with_llm and isinstance(choice.get("name"), str):
            return ToolChoice("auto", choice["name"])
        choice = choice.get("type")
    if choice == "image_generation":
        return ToolChoice("image")
    if choice in (None, "auto", "none", "required"):
        return ToolChoice(choice or "auto")
    if is_tool_type(choice):
        message = f"'{choice}' cannot be forced: these models only call image_generation."
        raise ApiError(message, param="tool_choice", code="unsupported_parameter")
    raise ApiError(f"Invalid tool_choice '{truncate(choice)}'.", param="tool_choice")


def _parse_allowed_tools(choice: dict[str, Any]) -> ToolChoice:
    mode, tools = choice.get("mode", "auto"), choice.get("tools")
    if mode not in ("auto", "required") or not isinstance(tools, list):
        message = "allowed_tools needs a list 'tools' and the mode 'auto' or 'required'."
        raise ApiError(message, param="tool_choice")
    allowed = [tool for tool in tools if isinstance(tool, dict)]
    names = tuple(str(tool.get("name")) for tool in allowed if tool.get("type") == "function")
    if any(tool.get("type") == "image_generation" for tool in allowed):
        only_image = mode == "required" and not names
        return ToolChoice("image" if only_image else mode, allowed=names)
    return ToolChoice(mode if names else "none", allowed=names, allows_image=False)
