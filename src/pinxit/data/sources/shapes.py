"""Synthetic scenes of one to three objects, with captions in English and French.

Any number of scenes: scene `i` of a seed does not depend on how many there are, nor on the size
they are rendered at, and is the same on any machine.

All factors of a scene are distributed uniformly. Scenes with a held-out combination are set apart,
so the other splits have fewer objects per scene: one, two and three objects are in 40, 33 and 27 %
of the scenes of train, validation and test, but in 18, 34 and 48 % of the held-out splits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pinxit.data.records import Record, Source, SourceType
from pinxit.data.scenes.scene import DEFAULT_SIZE, random_scene, render_scene
from pinxit.errors import UsageError

DEFAULT_COUNT = 4_000  # scenes, unless given as in `shapes:5000`


def open_shapes(data: str, seed: int) -> Source | None:
    count = parse_count(data, "shapes")
    return None if count is None else _scenes(data, count, seed, None)


def parse_count(data: str, name: str) -> int | None:
    """Return the count in `name` or `name:5000`, or None for other texts.

    Raises UsageError if the count is not a positive integer.
    """
    if data == name:
        return DEFAULT_COUNT
    if not data.startswith(f"{name}:"):
        return None
    count = data.removeprefix(f"{name}:").replace("_", "").replace(",", "")
    if not count.isdecimal() or int(count) == 0:
        raise UsageError(f"the count in '{data}' must be a positive integer, as in {name}:5000.")
    return int(count)


def _scenes(data: str, count: int, seed: int, size: tuple[int, int] | None) -> Source:
    height, width = size or DEFAULT_SIZE
    return Source(
        data,
        lambda: f"shapes 4 {count} {seed} {(height, width)}",
        lambda: _list_records(count, seed, (height, width)),
        at_size=lambda size: _scenes(data, count, seed, size),
    )


def _list_records(count: int, seed: int, size: tuple[int, int]) -> Iterator[Record]:
    for i in range(count):
        scene = random_scene(seed, i)
        yield Record(
            f"shapes-{seed}-{i:06d}",
            functools.partial(_render, seed, i, size),
            label=scene.objects[0].shape if len(scene.objects) == 1 else None,
            captions=scene.captions(),
            split=scene.split,
        )


def _render(seed: int, index: int, size: tuple[int, int]) -> np.ndarray:
    return render_scene(random_scene(seed, index), size)


SOURCE_TYPE = SourceType(
    pattern="shapes[:COUNT]",
    description="Synthetic scenes of one to three objects with captions in English and French, "
    f"rendered at any --size; {DEFAULT_COUNT:,} by default, others with --data-seed. "
    "A scene of one object has its shape as label. Sixteen combinations of size, color and shape "
    "occur in no training image: eight in the split validation-held-out, to choose options on, and "
    "eight in test-held-out, to report on; validation and test are distributed like train. "
    "Needs no download.",
    examples=("shapes", "shapes:20000"),
    open=open_shapes,
    list_names=lambda: ("shapes",),
    match_order=0,
)
