"""What a source lists: images that are not read yet, and what lies beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pinxit.data.skipped import SkippedFile

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Record:
    """An image that has not been read yet, and what its source knows about it."""

    name: str  # within the source, with `/` between folders
    # returns the file's bytes, or pixels [height, width] or [height, width, channel]; is called
    # in a worker thread
    read: Callable[[], bytes | np.ndarray]
    label: str | None = None
    label_index: int | None = None  # if the source numbers its labels
    captions: dict[str, str] = field(default_factory=dict)  # by language
    more_captions: dict[str, tuple[str, ...]] = field(default_factory=dict)  # after the first
    keywords: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by language
    split: str | None = None  # one of `SPLITS`; None if the source has no splits
    group: str | None = None  # images of one group are never in different splits
    file: Path | None = None  # that holds the image, alone or with others


@dataclass(frozen=True, slots=True)
class UsedFile:
    """A file of a source that describes its images."""

    name: str
    role: Literal["metadata", "captions"]


@dataclass(frozen=True, slots=True)
class Note:
    """A choice that a source made, or something it contains and does not use, for the user."""

    text: str
    is_loss: bool = False  # what records say of images is not used: --strict refuses it


Listed = Record | SkippedFile | UsedFile | Note
