"""The slide on the OpenAI program: the code, the image it gets, and its follow-up turn."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from pinxit.models.protocols import CanDraw, CanEdit, CanSample
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_seconds
from pinxit.reports.images import MAX_PIXELATED_SIDE, InlineImage
from pinxit.reports.lecture.exchange_record import first_input, read_exchange, write_program
from pinxit.reports.lecture.slide import Slide, locate

# of the server, which this package may not import
PLACES = ("serve/api/responses.py: ResponseRoutes.create", "serve/dialogue/parse.py: parse_request")
TITLE = "The OpenAI program, and its follow-up turn"


def program(context: ReportContext) -> Slide | None:
    """Show the program and both turns, if `pinxit report` has run it on these weights."""
    run, model = context.run, context.model
    if not isinstance(model, CanDraw | CanEdit | CanSample):
        return None
    turns = read_exchange(run)
    first = turns[0]["input"] if turns else first_input(run, model)
    values = {
        "program": write_program(first),
        "turns": [_show_turn(turn) for turn in turns or []],
        "command": f"pinxit report {run.shell_path}",
        "serve": f"pinxit serve {run.shell_path}",
    }
    return Slide("program", TITLE, values, (*PLACES, locate(_choose_method(model))))


def _choose_method(model: CanDraw | CanEdit | CanSample) -> Callable[..., Any]:
    """Return the method that generates the images of the program."""
    if isinstance(model, CanEdit):
        return type(model).edit
    return type(model).draw if isinstance(model, CanDraw) else type(model).sample


def _show_turn(turn: dict[str, Any]) -> dict[str, Any]:
    content = base64.b64decode(turn["image"])
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
    shown = InlineImage(
        f"data:image/png;base64,{turn['image']}",
        f"The image for “{turn['input']}”",
        width,
        height,
        max(width, height) <= MAX_PIXELATED_SIDE,
    )
    return {**turn, "image": shown, "seconds": format_seconds(turn["seconds"])}
