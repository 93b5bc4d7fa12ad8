"""Pairs of drawn scenes, before and after an edit that is asked for in English and French."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pinxit.data.records import Kind, Record, Source
from pinxit.data.scenes.edits import edit
from pinxit.data.scenes.scene import SIZE, draw_scene
from pinxit.data.sizes import parse_size
from pinxit.data.sources.shapes import COUNT, counted


def find(text: str, seed: int) -> Source | None:
    count = counted(text, "shapes-edits")
    return None if count is None else _pairs(text, count, seed, None)


def _pairs(text: str, count: int, seed: int, size: str | tuple[int, int] | None) -> Source:
    drawn = parse_size(size) or SIZE
    return Source(
        text,
        lambda: f"shapes-edits 2 {count} {seed} {drawn}",
        lambda: _records(count, seed, drawn),
        at_size=lambda asked: _pairs(text, count, seed, asked),
    )


def _records(count: int, seed: int, size: tuple[int, int]) -> Iterator[Record]:
    for number in range(count):
        made = edit(seed, number)
        split = "test" if made.held_out else None
        name = f"edit-{seed}-{number:06d}"
        yield Record(f"{name}/before", functools.partial(_drawn, seed, number, size, False))
        yield Record(
            f"{name}/after",
            functools.partial(_drawn, seed, number, size, True),
            captions=made.instruction,
            split=split,
        )


def _drawn(seed: int, number: int, size: tuple[int, int], after: bool) -> np.ndarray:
    made = edit(seed, number)
    return draw_scene(made.after if after else made.before, size)


KIND = Kind(
    data="shapes-edits[:COUNT]",
    says=f"Pairs of drawn scenes ({COUNT:,} unless said), before and after what is asked for in "
    "English and French. Needs nothing.",
    examples=("shapes-edits", "shapes-edits:20000"),
    find=find,
    names=lambda: ("shapes-edits",),
    rank=0,
)
