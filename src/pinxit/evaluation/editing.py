"""How well edits follow their instruction: by a scene reader on synthetic scenes, and by PSNR."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pinxit.data.images import Images
from pinxit.data.psnr import psnr
from pinxit.data.scenes.edits import Edit, random_edit
from pinxit.data.scenes.scene import Scene
from pinxit.evaluation.estimates import estimate_over
from pinxit.evaluation.metrics import MetricValue, proportion, with_names
from pinxit.evaluation.reconstruction import mse_per_image
from pinxit.evaluation.scene_reader import can_read, parse_scene


class EditCheck(NamedTuple):
    """Result of comparing a scene with an edit."""

    applied: bool  # the edited attribute has its new value
    preserved: bool  # everything else is unchanged


def edits_from_names(images: Images) -> list[Edit] | None:
    """Return the edits that pairs of `shapes-edits` in color show; None for other images."""
    matches = [re.fullmatch(r"edit-(\d+)-(\d+)", name) for name in images.names]
    if not matches or not all(matches) or not can_read(images):
        return None
    return [random_edit(int(match[1]), int(match[2])) for match in matches if match]


def edit_metrics(edited: Images, true: Images) -> Iterator[MetricValue]:
    """Yield how often scene edits are applied and preserve the rest; PSNR for any images.

    `true` are the images after the true edit, `true.before` the inputs. `edit_reader_ceiling` is
    `edit_exact` of the true images, `identity_psnr` the PSNR of the unchanged input. A PSNR is the
    mean over images of each image's.
    """
    edits = edits_from_names(true)
    if edits is not None:
        checks = _check_all(edits, edited)
        outcomes = {
            "edit_exact": [all(check) for check in checks],
            "edit_applied": [check.applied for check in checks],
            "edit_preserved": [check.preserved for check in checks],
            "edit_reader_ceiling": [all(check) for check in _check_all(edits, true)],
        }
        for name, values in outcomes.items():
            yield from with_names(proportion(name, values, true.groups), true.names)
    assert true.before is not None
    yield "edit_psnr", estimate_over(true, psnr(mse_per_image(true, edited)))
    before = Images(true.before)
    yield "identity_psnr", estimate_over(true, psnr(mse_per_image(true, before)))


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
