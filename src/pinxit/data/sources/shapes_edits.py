"""Pairs of synthetic scenes: before and after an edit, with its instruction as caption."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pinxit.data.records import Record, Source, SourceType
from pinxit.data.scenes.edits import random_edit
from pinxit.data.scenes.scene import DEFAULT_SIZE, render_scene
from pinxit.data.sources.shapes import DEFAULT_COUNT, parse_count


def open_shapes_edits(data: str, seed: int) -> Source | None:
    count = parse_count(data, "shapes-edits")
    return None if count is None else _pairs(data, count, seed, None)


def _pairs(data: str, count: int, seed: int, size: tuple[int, int] | None) -> Source:
    height, width = size or DEFAULT_SIZE
    return Source(
        data,
        lambda: f"shapes-edits 3 {count} {seed} {(height, width)}",
        lambda: _list_records(count, seed, (height, width)),
        at_size=lambda size: _pairs(data, count, seed, size),
    )


def _list_records(count: int, seed: int, size: tuple[int, int]) -> Iterator[Record]:
    for i in range(count):
        edit = random_edit(seed, i)
        name = f"edit-{seed}-{i:06d}"
        yield Record(f"{name}/before", functools.partial(_render_before, seed, i, size))
        yield Record(
            f"{name}/after",
            functools.partial(_render_after, seed, i, size),
            captions=edit.instruction,
            split=edit.split,
        )


def _render_before(seed: int, index: int, size: tuple[int, int]) -> np.ndarray:
    return render_scene(random_edit(seed, index).before, size)


def _render_after(seed: int, index: int, size: tuple[int, int]) -> np.ndarray:
    return render_scene(random_edit(seed, index).after, size)


SOURCE_TYPE = SourceType(
    pattern="shapes-edits[:COUNT]",
    description="Pairs of synthetic scenes, before and after an edit, with its instruction in "
    f"English and French; {DEFAULT_COUNT:,} by default. Splits as of shapes. Needs no download.",
    examples=("shapes-edits", "shapes-edits:20000"),
    open=open_shapes_edits,
    list_names=lambda: ("shapes-edits",),
    match_order=0,
)
