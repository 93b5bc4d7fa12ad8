"""An animation without a script: frames that play by themselves, or that a reader steps through.

The report runs no script, and neither does its frame in the studio. Radio buttons select a frame by
CSS; the first one plays them all. With reduced motion and on paper the last frame is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_FRAMES = 24  # for which style.css.j2 has rules


@dataclass(frozen=True)
class Frame:
    """A frame: the text on its button, what is shown, and a caption."""

    name: str
    content: Any  # Markup, or values for the `caller` of the macro
    caption: str
