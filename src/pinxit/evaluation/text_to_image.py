"""How well images follow the text they were generated from.

Images of synthetic scenes are read by an independent scene reader; images with labels are
classified by a network that has never seen a generated image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene, scene_from_name
from pinxit.evaluation.feature_space import TrainedSpace
from pinxit.evaluation.metrics import MetricValue, proportion
from pinxit.evaluation.scene_reader import SceneMatch, match_scenes, parse_scene

ATTRIBUTES = ("exact", "objects", "relations", "count", "shape", "color", "size")


def scenes_from_names(images: Images) -> list[Scene] | None:
    """Return the scenes that images of `shapes` show; None for other images."""
    if not all(re.fullmatch(r"shapes-\d+-\d+", name) for name in images.names):
        return None
    return [scene_from_name(name) for name in images.names] or None


def text_to_image_metrics(drawings: Images, true: Images) -> Iterator[MetricValue]:
    """Yield how often drawings of scenes match their captions, by attribute.

    `t2i_relations` counts only images whose objects are correct. `t2i_reader_ceiling` is
    `t2i_exact` of the true images: it is below 1 if the scene reader errs. Yields nothing for
    images that are not scenes.
    """
    scenes = scenes_from_names(true)
    if scenes is None:
        return
    matches = _match_all(scenes, drawings)
    for name in ATTRIBUTES:
        counted = [m for m in matches if m.objects] if name == "relations" else matches
        if counted:
            yield from proportion(f"t2i_{name}", [getattr(match, name) for match in counted])
    yield from proportion("t2i_reader_ceiling", [m.exact for m in _match_all(scenes, true)])


def _match_all(scenes: list[Scene], images: Images) -> list[SceneMatch]:
    return [
        match_scenes(scene, parse_scene(image)) for scene, image in zip(scenes, images, strict=True)
    ]


def label_accuracy_metrics(
    space: TrainedSpace, drawings: Images, true: Images
) -> Iterator[MetricValue]:
    """Yield how often the classifier sees the true label in drawings, and in the true images."""
    labels = true.labels
    if labels is None or not (labels >= 0).any():
        return
    for name, images in (("sample", drawings), ("real", true)):
        correct = (space.predict(images) == labels)[labels >= 0]
        yield from proportion(f"{name}_label_accuracy", correct.tolist())
