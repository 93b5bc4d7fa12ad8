"""The lecture's program for OpenAI's API, and the record of what a server of a run answered."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from pinxit.data.typed_json import decode_json
from pinxit.models.protocols import CanDraw
from pinxit.runs import EXAMPLES_FILE, Run
from pinxit.training.trials import hash_file

RECORD = "exchange.json"  # in the run folder
MAX_RECORD_BYTES = 8 * 2**20
MAX_CHARS = 500  # of a text that is shown
# the slide's own words
FIRST = "Generate an image of gray tabby cat hugging an otter with an orange scarf"
FOLLOW_UP = "Give this cat a detective hat"
PROGRAM = """\
from openai import OpenAI
import base64

client = OpenAI()
response = client.responses.create(
    model="gpt-5",
    input={first},
    tools=[{{"type": "image_generation"}}],
)
image_data = [o.result for o in response.output if o.type == "image_generation_call"]
with open("image.png", "wb") as file:
    file.write(base64.b64decode(image_data[0]))

follow_up = client.responses.create(
    model="gpt-5",
    previous_response_id=response.id,
    input={second},
    tools=[{{"type": "image_generation"}}],
)
"""
KEYS = ("input", "action", "revised_prompt", "text")


def write_program(first: str = FIRST, second: str = FOLLOW_UP) -> str:
    """Return the program of the slide with these two inputs."""
    quote = json.dumps
    return PROGRAM.format(
        first=quote(first, ensure_ascii=False), second=quote(second, ensure_ascii=False)
    )


def first_input(run: Run, model: Any) -> str:
    """Return the first turn: a caption of the run's own if it draws, else the slide's."""
    if not isinstance(model, CanDraw):
        return FIRST
    try:
        record = decode_json((run.path / EXAMPLES_FILE).read_text(encoding="utf-8"))
        captions = [text for image in record["images"] for text in image["captions"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return FIRST
    texts = [text for text in captions if isinstance(text, str) and text.strip()]
    return f"Generate an image of {texts[0][:MAX_CHARS]}" if texts else FIRST


def read_exchange(run: Run) -> list[dict[str, Any]] | None:
    """Return the two turns that were recorded with the weights of the run; None without them."""
    file = run.path / RECORD
    try:
        if file.stat().st_size > MAX_RECORD_BYTES:
            return None
        record = decode_json(file.read_text(encoding="utf-8"))
        if record["weights"] != hash_file(run.weights_path):
            return None
        turns = [_check_turn(turn) for turn in record["turns"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return turns if len(turns) == 2 else None


def _check_turn(turn: dict[str, Any]) -> dict[str, Any]:
    """Return the turn with bounded texts. Raises ValueError for what is no PNG."""
    image = turn["image"]
    try:
        if not base64.b64decode(image, validate=True).startswith(b"\x89PNG"):
            raise ValueError("not a PNG")
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    texts = {key: str(turn[key])[:MAX_CHARS] for key in KEYS}
    return {**texts, "image": image, "seconds": float(turn["seconds"])}
