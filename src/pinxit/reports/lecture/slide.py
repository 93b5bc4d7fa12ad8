"""A slide of the lecture: a subsection of the report, with a figure of the reader's own run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pinxit
from pinxit.reports.context import ReportContext

PACKAGE = Path(pinxit.__file__).parent
MAX_STEPS_SHOWN = 24  # frames of a stepper


@dataclass(frozen=True)
class Slide:
    """`key` is its anchor and selects its template, `templates/lecture/<key>.html.j2`."""

    key: str
    title: str  # in the words of the slide
    values: dict[str, Any] = field(default_factory=dict)
    code: tuple[str, ...] = ()  # where it is in the code, see `locate`


# returns None if the slide is not about such a run
SlideBuilder = Callable[[ReportContext], Slide | None]


def locate(function: Callable[..., Any]) -> str:
    """Return where a function is defined: `sampling/elbo.py: elbo_terms`."""
    file = sys.modules[function.__module__].__file__
    assert file is not None, "a module of a file"
    path = Path(file)
    name = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.name
    return f"{name}: {function.__qualname__}"
