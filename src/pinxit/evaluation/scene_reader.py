"""Reads the objects of a synthetic scene from pixels, to check generated images.

Independent of the renderer: it shares only the names of shapes, colors and sizes with it. An
image is white with blobs of ink. A blob's color is that of its core; its shape and size are those
whose silhouette covers the same pixels best.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from pinxit.data.images import Images
from pinxit.data.scenes.scene import COLORS, SIZES, Scene, SceneObject

MIN_INK = 40  # darkness, of 255, that makes a pixel part of a blob
MIN_AREA = 0.35  # of a blob, relative to the smallest shape
MIN_CORE_AREA = 0.8  # of a core, relative to the smallest blob
CORE_DEPTH = 0.75  # of a color's distance from white, in pixels that separate touching objects
COLOR_DEPTH = 0.85  # of a blob's largest distance from white, in pixels that give its color
SCALES = (0.92, 1.0, 1.08)  # of a size's radius, all tried: small shapes are rounded to pixels
SUBPIXELS = 4  # sampling points per pixel side when a silhouette is drawn

Pixels = UInt8[np.ndarray, "height width 3"]
RGB = Float[np.ndarray, "height width 3"]  # 0 to 255
Mask = Bool[np.ndarray, "height width"]
Coverage = Float[np.ndarray, "height width"]  # fraction of each pixel that an object covers
Coordinates = Float[np.ndarray, "..."]


# -- silhouettes -------------------------------------------------------------------------------


def _is_in_star(x: Coordinates, y: Coordinates) -> np.ndarray:
    """Five points: the edge from a point to the next notch is straight."""
    angle = np.arctan2(x, -y) % (2 * np.pi / 5)
    angle = np.minimum(angle, 2 * np.pi / 5 - angle)  # from the nearest point, 0 to 36 degrees
    notch = np.array([0.42 * np.sin(np.pi / 5), 0.42 * np.cos(np.pi / 5)])  # the point is (0, 1)
    u, v = np.hypot(x, y) * np.sin(angle), np.hypot(x, y) * np.cos(angle)
    return notch[0] * (v - 1) - (notch[1] - 1) * u <= 0


# whether (x, y) lies in a shape of radius 1 around the origin; y points down
SILHOUETTES: dict[str, Callable[[Coordinates, Coordinates], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.82,
    "triangle": lambda x, y: (y <= 0.75) & (1.7 * abs(x) <= 0.95 * (y + 0.95)),
    "star": _is_in_star,
    "cross": lambda x, y: (
        (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 0.95)
    ),
    "diamond": lambda x, y: abs(x) / 0.72 + abs(y) <= 1,
}
# area of the smallest shape, a star of the smallest size, in an image of side 1
SMALLEST_AREA = 1.234 * min(size.radius for size in SIZES.values()) ** 2


@functools.cache
def _center_of_mass(shape: str) -> tuple[float, float]:
    axis = np.linspace(-1, 1, 401)
    x, y = np.meshgrid(axis, axis)
    inside = SILHOUETTES[shape](x, y)
    return float(x[inside].mean()), float(y[inside].mean())


def _draw_silhouette(
    shape: str, radius: float, center: tuple[float, float], size: tuple[int, ...]
) -> Coverage:
    """Return the fraction of each pixel that a shape covers; `size`: height and width."""
    height, width = size
    offsets = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS
    xs = ((np.arange(width)[:, None] + offsets).ravel() - center[0]) / radius
    ys = ((np.arange(height)[:, None] + offsets).ravel() - center[1]) / radius
    inside = SILHOUETTES[shape](xs[None, :], ys[:, None])
    inside = np.broadcast_to(inside, (height * SUBPIXELS, width * SUBPIXELS))
    return inside.reshape(height, SUBPIXELS, width, SUBPIXELS).mean((1, 3))


# -- reading -----------------------------------------------------------------------------------


def can_read(images: Images) -> bool:
    """Return whether images have colors, which distinguish the objects of a scene."""
    return images.channels == 3


def parse_scene(pixels: Pixels) -> Scene:
    """Read the objects that an image shows, from the top left to the bottom right.

    Any image is read: as the most similar objects, or as none.
    """
    from scipy import ndimage  # in the extra `text`

    rgb = pixels.astype(np.float64)
    ink = (255 - rgb).max(-1) > MIN_INK
    min_area = MIN_AREA * SMALLEST_AREA * min(ink.shape) ** 2
    objects = []
    for blob in _find_blobs(rgb, ink, min_area):
        with_edge = ndimage.binary_dilation(blob) & (blob | ~ink)
        color, coverage = _read_color(rgb, with_edge)
        if coverage.sum() >= min_area:
            objects.append(_fit_object(color, coverage))
    return Scene(tuple(sorted(objects, key=lambda obj: (obj.position, obj.x))))


def _find_blobs(rgb: RGB, ink: Mask, min_area: float) -> Iterator[Mask]:
    """Yield the blob of each object; connected ink with several cores is split between them."""
    cores = _find_cores(rgb, ink, min_area)
    blobs, count = _label_components(ink, corners=True)
    nearest_core = None
    for number in range(1, count + 1):
        blob = blobs == number
        cores_inside = np.setdiff1d(cores[blob], 0)
        if len(cores_inside) < 2:
            yield blob
            continue
        if nearest_core is None:
            nearest_core = cores[_nearest_index(cores > 0)]
        yield from (blob & (nearest_core == core) for core in cores_inside)


def _find_cores(rgb: RGB, ink: Mask, min_area: float) -> Int[np.ndarray, "height width"]:
    """Number the cores from 1: connected pixels that ink of one color covers almost fully.

    Ink mixed with white keeps its direction from white, which gives its color.
    """
    colors = 255.0 - np.array([color.rgb for color in COLORS.values()])  # from white
    lengths = np.linalg.norm(colors, axis=1)
    similarity = (255 - rgb) @ (colors / lengths[:, None]).T
    color = similarity.argmax(-1)
    is_full = ink & (np.linalg.norm(255 - rgb, axis=-1) > CORE_DEPTH * lengths[color])
    cores, num_cores = np.zeros(ink.shape, int), 0
    for index in np.unique(color[is_full]):
        parts, count = _label_components(is_full & (color == index), corners=False)
        for number in range(1, count + 1):
            if (parts == number).sum() >= MIN_CORE_AREA * min_area:
                num_cores += 1
                cores[parts == number] = num_cores
    return cores


def _label_components(mask: Mask, corners: bool) -> tuple[np.ndarray, int]:
    """Number the connected components from 1; with `corners` pixels may touch at a corner."""
    from scipy import ndimage  # in the extra `text`

    components: Any = ndimage.label(mask, np.ones((3, 3)) if corners else None)
    return components


def _nearest_index(mask: Mask) -> tuple[np.ndarray, ...]:
    """Return the index of the pixel in the mask that is nearest to each pixel."""
    from scipy import ndimage  # in the extra `text`

    indices: Any = ndimage.distance_transform_edt(
        ~mask, return_distances=False, return_indices=True
    )
    return tuple(indices)


def _read_color(rgb: RGB, blob: Mask) -> tuple[str, Coverage]:
    """Return the color of a blob's core, and how much of each pixel it covers."""
    ink = 255 - rgb
    depth = np.where(blob, np.linalg.norm(ink, axis=-1), 0)
    core = blob & (depth >= COLOR_DEPTH * depth.max())
    median = np.median(rgb[core], axis=0)
    color = min(COLORS, key=lambda name: float(np.square(median - COLORS[name].rgb).sum()))
    full = np.median(ink[core], axis=0)
    coverage = np.where(blob, (ink @ full) / max(1e-6, float(full @ full)), 0)
    return color, np.clip(coverage, 0, 1)


def _fit_object(color: str, coverage: Coverage) -> SceneObject:
    """Return the shape and size of smallest squared error, aligned by the center of mass."""
    height, width = coverage.shape
    top, left, coverage = _crop(coverage)
    ys, xs = np.mgrid[: coverage.shape[0], : coverage.shape[1]] + 0.5
    ys, xs = ys * coverage / coverage.sum(), xs * coverage / coverage.sum()
    mass_x, mass_y = float(xs.sum()), float(ys.sum())
    min_error, best = np.inf, None
    for shape, size, scale in itertools.product(SILHOUETTES, SIZES, SCALES):
        radius = scale * SIZES[size].radius * min(height, width)
        dx, dy = _center_of_mass(shape)
        center = mass_x - dx * radius, mass_y - dy * radius
        silhouette = _draw_silhouette(shape, radius, center, coverage.shape)
        error = float(np.square(silhouette - coverage).sum())
        if error < min_error:
            min_error, best = error, (shape, size, center)
    assert best is not None
    shape, size, center = best
    position = [(left + center[0]) / width, (top + center[1]) / height]
    x, y = np.clip(position, 0, 1 - 1e-9).tolist()
    return SceneObject(shape, color, size, (int(3 * y), int(3 * x)), x, y)


def _crop(coverage: Coverage) -> tuple[int, int, Coverage]:
    """Return the covered part with a margin of two pixels, and the row and column of its corner."""
    rows, columns = np.nonzero(coverage.any(1))[0], np.nonzero(coverage.any(0))[0]
    top, left = max(0, rows[0] - 2), max(0, columns[0] - 2)
    return int(top), int(left), coverage[top : rows[-1] + 3, left : columns[-1] + 3]


# -- comparison --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SceneMatch:
    """Which parts of a caption an image shows."""

    count: bool  # the number of objects
    shape: bool
    color: bool
    size: bool
    objects: bool  # every object, with its shape, color and size
    relations: bool  # position of one object or relation of two; of three, the objects only
    exact: bool  # the whole caption


def match_scenes(target: Scene, scene: Scene) -> SceneMatch:
    """Compare the scene read from an image with the scene of its caption."""

    def is_equal(*attributes: str) -> bool:
        counts = [
            Counter(tuple(getattr(obj, name) for name in attributes) for obj in s.objects)
            for s in (target, scene)
        ]
        return counts[0] == counts[1]

    objects = is_equal("shape", "color", "size")
    relations = objects and _matches_relations(target, scene)
    return SceneMatch(
        count=len(target.objects) == len(scene.objects),
        shape=is_equal("shape"),
        color=is_equal("color"),
        size=is_equal("size"),
        objects=objects,
        relations=relations,
        exact=objects and relations,
    )


def _matches_relations(target: Scene, scene: Scene) -> bool:
    """Return whether some order of the objects gives the target's caption."""
    caption = target.captions()["en"]
    orders = itertools.permutations(scene.objects)
    return any(Scene(order).captions()["en"] == caption for order in orders)
