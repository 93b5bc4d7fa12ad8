"""How well edits follow their instruction: on drawn scenes by a scene reader, elsewhere by PSNR."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.data.scenes.edits import Edit, random_edit
from pinxit.data.scenes.scene import Scene, SceneObject
from pinxit.evaluation.metrics import MetricValue, proportion
from pinxit.evaluation.scene_reader import parse_scene

if TYPE_CHECKING:
    pass


def edits_from_names(images: Images) -> list[Edit] | None:
    """The edits that pairs of `shapes-edits` show; None for other images."""
    found = [re.fullmatch(r"edit-(\d+)-(\d+)", name) for name in images.names]
    if not found or not all(found):
        return None
    return [random_edit(int(one[1]), int(one[2])) for one in found if one]


def edit_metrics(edited: Images, asked: Images) -> Iterator[MetricValue]:
    """Whether the change was made, and all else was kept; in decibels for any images."""
    edits = edits_from_names(asked)
    if edits is not None:
        made = [check_edit(one, parse_scene(p)) for one, p in zip(edits, edited, strict=True)]
        true = [check_edit(one, parse_scene(p)) for one, p in zip(edits, asked, strict=True)]
        yield from proportion("edit_exact", [all(one) for one in made])
        yield from proportion("edit_applied", [one[0] for one in made])
        yield from proportion("edit_preserved", [one[1] for one in made])
        yield from proportion("edit_reader_ceiling", [all(one) for one in true])
    assert asked.before is not None
    yield "edit_psnr", decibels(edited.pixels, asked.pixels)
    yield "identity_psnr", decibels(asked.before, asked.pixels)


def check_edit(asked: Edit, shown: Scene) -> tuple[bool, bool]:
    """Whether a scene has what an edit changes as it should be, and all else as it was."""
    before, after, there = (count_objects(scene) for scene in (asked.before, asked.after, shown))
    kept, new = before & after, after - before
    gone = before - after
    rest = there - kept
    return rest == new and not (rest & gone), (there & kept) == kept


def count_objects(scene: Scene) -> Counter[tuple[Any, ...]]:
    """What a scene has, by form, colour, size and place."""

    def factors(thing: SceneObject) -> tuple[Any, ...]:
        return thing.shape, thing.color, thing.size, thing.position

    return Counter(factors(thing) for thing in scene.objects)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR over all pixels of all images."""
    mse = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean())
    return float(psnr(mse / 255**2, min_mse=1e-9 / 255**2))
