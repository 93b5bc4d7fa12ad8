"""What an image request asks of a model, and what the model returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pinxit.serve.inference.registry import Served
from pinxit.serve.media.uploads import Sent

Growing = Callable[[list[np.ndarray]], None]


@dataclass(frozen=True)
class Ask:
    """An image that is asked for."""

    text: str = ""
    n: int = 1
    seed: int = 0
    source: Sent | None = None
    mask: bytes | None = None  # transparent where the source is to be painted anew
    how: tuple[tuple[str, Any], ...] = ()  # temperature, guidance, top_k, top_p, tries


@dataclass(frozen=True)
class Painted:
    """Images that were made, by whom, from which words."""

    pixels: list[np.ndarray]
    by: Served
    action: str  # generate or edit
    said: str  # the words that the model was given, or why it was given none
