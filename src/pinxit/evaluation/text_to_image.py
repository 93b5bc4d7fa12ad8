"""How well images follow the text they were generated from.

Images of synthetic scenes are read by an independent scene reader; images with labels are
classified by a network that has never seen a generated image.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene, scene_from_name
from pinxit.evaluation.estimates import Estimate, estimate_proportion
from pinxit.evaluation.feature_space import TrainedSpace
from pinxit.evaluation.metrics import MetricValue
from pinxit.evaluation.scene_reader import SceneMatch, can_read, match_scenes, parse_scene
from pinxit.models.protocols import CanDraw, CanEdit, Model

ATTRIBUTES = ("exact", "objects", "relations", "count", "shape", "color", "size")


def scenes_from_names(images: Images) -> list[Scene] | None:
    """Return the scenes that images of `shapes` show; None for other images."""
    if not all(re.fullmatch(r"shapes-\d+-\d+", name) for name in images.names):
        return None
    return [scene_from_name(name) for name in images.names] or None


def readable_scenes(images: Images) -> list[Scene] | None:
    """Return the scenes as `scenes_from_names` does, of images that the scene reader can read."""
    return scenes_from_names(images) if can_read(images) else None


def grey_scene_warnings(model: Model, images: Images) -> Iterator[str]:
    """Yield a warning if a model generates scenes from texts that the reader cannot read."""
    names = list(images.names) or [""]
    is_scene = all(re.fullmatch(r"(shapes|edit)-\d+-\d+", name) for name in names)
    if isinstance(model, CanDraw | CanEdit) and is_scene and not can_read(images):
        yield "scenes are read in color only: it is unknown how well grey images show their texts"


def text_to_image_metrics(drawings: Images, true: Images) -> Iterator[MetricValue]:
    """Yield how often drawings of scenes match their captions, by attribute.

    `t2i_relations` counts only images whose objects are correct. `t2i_reader_ceiling` is
    `t2i_exact` of the true images: it is below 1 if the scene reader errs. Yields nothing for
    images that are not scenes, and for grey ones.
    """
    scenes = readable_scenes(true)
    if scenes is None:
        return
    matches = _match_all(scenes, drawings)
    for name in ATTRIBUTES:
        counted = np.array([m.objects or name != "relations" for m in matches], bool)
        outcomes = np.array([getattr(match, name) for match in matches], bool)
        if counted.any():
            yield f"t2i_{name}", _proportion(outcomes, counted, true)
    is_exact = np.array([match.exact for match in _match_all(scenes, true)], bool)
    yield "t2i_reader_ceiling", _proportion(is_exact, np.ones(len(true), bool), true)


def _proportion(
    outcomes: Bool[np.ndarray, " n"], counted: Bool[np.ndarray, " n"], images: Images
) -> Estimate:
    """Proportion of true outcomes among the images that count."""
    rows = np.flatnonzero(counted)
    groups = None if images.groups is None else images.groups[rows]
    names = [images.names[int(i)] for i in rows] if len(images.names) else ()
    return dataclasses.replace(estimate_proportion(outcomes[rows], groups), names=names)


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
        is_correct = space.predict(images) == labels
        yield f"{name}_label_accuracy", _proportion(is_correct, labels >= 0, true)
