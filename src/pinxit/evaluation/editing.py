"""How well edits follow their instruction: by a scene reader on synthetic scenes, and by PSNR."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.data.scenes.edits import Edit, random_edit
from pinxit.data.scenes.scene import Scene
from pinxit.evaluation.metrics import MetricValue, proportion
from pinxit.evaluation.scene_reader import parse_scene

MIN_MSE = 1e-9 / 255**2  # a smaller error counts as this one: 138 dB


class EditCheck(NamedTuple):
    """Result of comparing a scene with an edit."""

    applied: bool  # the edited attribute has its new value
    preserved: bool  # everything else is unchanged


def edits_from_names(images: Images) -> list[Edit] | None:
    """Return the edits that pairs of `shapes-edits` show; None for other images."""
    matches = [re.fullmatch(r"edit-(\d+)-(\d+)", name) for name in images.names]
    if not matches or not all(matches):
        return None
    return [random_edit(int(match[1]), int(match[2])) for match in matches if match]


def edit_metrics(edited: Images, true: Images) -> Iterator[MetricValue]:
    """Yield how often scene edits are applied and preserve the rest; PSNR for any images.

    `true` are the images after the true edit, `true.before` the inputs. `edit_reader_ceiling` is
    `edit_exact` of the true images, `identity_psnr` the PSNR of the unchanged input.
    """
    edits = edits_from_names(true)
    if edits is not None:
        checks = _check_all(edits, edited)
        yield from proportion("edit_exact", [all(check) for check in checks])
        yield from proportion("edit_applied", [check.applied for check in checks])
        yield from proportion("edit_preserved", [check.preserved for check in checks])
        yield from proportion("edit_reader_ceiling", [all(c) for c in _check_all(edits, true)])
    assert true.before is not None
    yield "edit_psnr", _total_psnr(edited.pixels, true.pixels)
    yield "identity_psnr", _total_psnr(true.before, true.pixels)


def _check_all(edits: list[Edit], images: Images) -> list[EditCheck]:
    return [check_edit(edit, parse_scene(image)) for edit, image in zip(edits, images, strict=True)]


def check_edit(edit: Edit, scene: Scene) -> EditCheck:
    """Check whether a scene shows what an edit changes, and all that it leaves as it was."""
    before, after, objects = (count_objects(s) for s in (edit.before, edit.after, scene))
    preserved, added, removed = before & after, after - before, before - after
    changed = objects - preserved
    return EditCheck(
        applied=changed == added and not (changed & removed),
        preserved=(objects & preserved) == preserved,
    )


def count_objects(scene: Scene) -> Counter[tuple[object, ...]]:
    """Count the objects of a scene by shape, color, size and position."""
    return Counter((obj.shape, obj.color, obj.size, obj.position) for obj in scene.objects)


def _total_psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB over all pixels of all images."""
    mse = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean())
    return float(psnr(mse / 255**2, min_mse=MIN_MSE))
