"""How well images follow words and words follow images.

Of drawn scenes an independent reader says what an image shows (`evaluation.scenes`); elsewhere a
classifier, and BLEU and chrF (Papineni 2002; Popovic 2015) against the captions that are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene, scene_from_name
from pinxit.evaluation.metrics import MetricValue, proportion
from pinxit.evaluation.scene_reader import match_scenes, parse_scene

if TYPE_CHECKING:
    from pinxit.evaluation.feature_space import FeatureSpace

ATTRIBUTES = ("exact", "objects", "relations", "count", "shape", "color", "size")


# -- drawing


def scenes_from_names(images: Images) -> list[Scene] | None:
    """The scenes that images of `shapes` show; None for other images."""
    if not all(re.fullmatch(r"shapes-\d+-\d+", name) for name in images.names):
        return None
    return [scene_from_name(name) for name in images.names] or None


def text_to_image_metrics(drawn: Images, asked: Images) -> Iterator[MetricValue]:
    """What of the captions of drawn scenes is there, by attribute; for other images nothing.

    `t2i_relations` counts only images whose objects are right. `t2i_reader_ceiling` is
    `t2i_exact` of the true images: what the scene reader itself gets wrong.
    """
    scenes = scenes_from_names(asked)
    if scenes is None:
        return
    found = [
        match_scenes(scene, parse_scene(image)) for scene, image in zip(scenes, drawn, strict=True)
    ]
    for name in ATTRIBUTES:
        counted = [one for one in found if one.objects] if name == "relations" else found
        if counted:
            yield from proportion(f"t2i_{name}", [getattr(one, name) for one in counted])
    true = [
        match_scenes(scene, parse_scene(image)).exact
        for scene, image in zip(scenes, asked, strict=True)
    ]
    yield from proportion("t2i_reader_ceiling", true)


def label_accuracy_metrics(
    space: FeatureSpace, drawn: Images, asked: Images
) -> Iterator[MetricValue]:
    """How often a classifier, which never saw what was drawn, tells the label that was meant."""
    labels = asked.labels
    if labels is None or space.facts.get("task") != "label":
        return
    known = labels >= 0
    if known.any():
        yield from proportion(
            "sample_label_accuracy", (space.told(drawn) == labels)[known].tolist()
        )
        yield from proportion("real_label_accuracy", (space.told(asked) == labels)[known].tolist())


# -- words


# -- edits
