"""The counters in the header of a checkpoint, read without torch and without its tensors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from pinxit.data.typed_json import convert_json, decode_json, parse_json
from pinxit.errors import PinxitError

CURRENT, PREVIOUS = "state.safetensors", "state.previous.safetensors"
MAX_HEADER = 100 * 2**20  # bytes, as safetensors has it


def read_counters(folder: Path) -> dict[str, Any]:
    """Return the counters of the newest readable checkpoint; empty if there is none."""
    found = []
    # where processes write parts of a checkpoint, each of them has the counters
    for file in (folder / CURRENT, folder / PREVIOUS, *folder.glob("state-*.1-of-*.safetensors")):
        try:
            found.append(_read_header(file))
        except (OSError, ValueError, KeyError, TypeError, PinxitError):
            continue
    return max(found, key=lambda counters: counters.get("step", 0), default={})


def _read_header(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8).ljust(8, b"\0"))
        if length > MAX_HEADER:
            raise ValueError("the header is too long")
        header = opened.read(length)
    metadata = decode_json(header)["__metadata__"] if header else {}
    return parse_counters(metadata.get("counters", "{}"), str(file))


def parse_counters(text: str, where: str) -> dict[str, Any]:
    """Parse the counters of a checkpoint: numbers by name. Raises PinxitError for anything else."""
    return convert_json(parse_json(text, where, allow_nan=True), dict[str, int | float], where)
