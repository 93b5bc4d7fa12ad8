"""Which scene an image shows, read from its pixels: the judge of what a model draws.

It knows the forms by their geometry and shares no code with what draws them. An image is white
with spots of ink; each spot is told by the colour of its core and by the form and size that cover
the same pixels best.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from pinxit.data.scenes.scene import COLORS, SIZES, Scene, SceneObject

Pixels = UInt8[np.ndarray, "height width 3"]
Cover = Float[np.ndarray, "height width"]

INK = 40  # how far from white, of 255, a pixel of a spot is
LEAST = 0.35  # of the smallest form's area, that a spot must have
SCALES = (0.92, 1.0, 1.08)  # of the sizes, that are still theirs: small forms are drawn in pixels
FINER = 4  # places a pixel's side at which forms are looked up

Plane = Float[np.ndarray, "..."]


def _star(x: Plane, y: Plane) -> np.ndarray:
    """Five points: between a point and the next dent the edge is straight."""
    angle = np.arctan2(x, -y) % (2 * np.pi / 5)
    angle = np.minimum(angle, 2 * np.pi / 5 - angle)  # from the nearest point, 0 to 36 degrees
    dent = np.array([0.42 * np.sin(np.pi / 5), 0.42 * np.cos(np.pi / 5)])  # seen from the point
    u, v = np.hypot(x, y) * np.sin(angle), np.hypot(x, y) * np.cos(angle)
    return dent[0] * (v - 1) - (dent[1] - 1) * u <= 0


# whether (x, y) lies in a form of radius one about the origin; y grows downward
FORMS: dict[str, Callable[[Plane, Plane], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.82,
    "triangle": lambda x, y: (y <= 0.75) & (1.7 * abs(x) <= 0.95 * (y + 0.95)),
    "star": _star,
    "cross": lambda x, y: (
        (np.minimum(abs(x), abs(y)) <= 0.32) & (np.maximum(abs(x), abs(y)) <= 0.95)
    ),
    "diamond": lambda x, y: abs(x) / 0.72 + abs(y) <= 1,
}
SMALLEST = 1.234 * min(radius for *_, radius in SIZES.values()) ** 2  # a star's, of side 1


@functools.cache
def _middle(form: str) -> tuple[float, float]:
    """A form's centre of mass."""
    axis = np.linspace(-1, 1, 401)
    x, y = np.meshgrid(axis, axis)
    inside = FORMS[form](x, y)
    return float(x[inside].mean()), float(y[inside].mean())


def parse_scene(pixels: Pixels) -> Scene:
    """The things that an image shows, from the top left on.

    Raises nothing: an image of chance is read as whatever it is nearest to, or as no thing.
    """
    from scipy import ndimage

    light = pixels.astype(np.float64)
    ink = (255 - light).max(-1) > INK
    least = LEAST * SMALLEST * min(ink.shape) ** 2
    things = []
    for spot in _spots(light, ink, least):
        near = ndimage.binary_dilation(spot) & (spot | ~ink)
        colour, cover = _coloured(light, near)
        if cover.sum() >= least:
            things.append(_formed(colour, cover))
    return Scene(tuple(sorted(things, key=lambda thing: (thing.position, thing.x))))


def _spots(light: np.ndarray, ink: np.ndarray, least: float) -> Iterator[np.ndarray]:
    """Where each thing is. Spots that touch are parted at half way between their cores.

    A core is where ink of one colour covers pixels nearly whole. Ink that white is mixed with
    keeps its direction from white, and so tells its colour.
    """
    full = 255.0 - np.array([rgb for *_, rgb in COLORS.values()])
    depth = np.linalg.norm(255 - light, axis=-1)
    like = (255 - light) @ (full / np.linalg.norm(full, axis=1, keepdims=True)).T
    nearest = like.argmax(-1)
    whole = ink & (depth > 0.75 * np.linalg.norm(full, axis=1)[nearest])
    cores, count = np.zeros(ink.shape, int), 0
    for colour in np.unique(nearest[whole]):
        parts, many = _labelled(whole & (nearest == colour), corners=False)
        for number in range(1, many + 1):
            if (parts == number).sum() >= 0.8 * least:
                count += 1
                cores[parts == number] = count
    spots, many = _labelled(ink, corners=True)
    owner = None
    for number in range(1, many + 1):
        spot = spots == number
        inside = np.setdiff1d(cores[spot], 0)
        if len(inside) < 2:
            yield spot
            continue
        if owner is None:
            owner = cores[_nearest(cores > 0)]
        yield from (spot & (owner == core) for core in inside)


def _labelled(mask: np.ndarray, corners: bool) -> tuple[np.ndarray, int]:
    """Connected parts numbered from 1, and how many; `corners`: they may meet at corners."""
    from scipy import ndimage

    found: Any = ndimage.label(mask, np.ones((3, 3)) if corners else None)
    return found


def _nearest(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of every place the nearest one in a mask, as indices."""
    from scipy import ndimage

    found: Any = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return tuple(found)


def _coloured(light: Float[np.ndarray, "height width 3"], spot: np.ndarray) -> tuple[str, Cover]:
    """A spot's colour, by its core, and how much of each pixel is covered with it."""
    ink = 255 - light
    depth = np.where(spot, np.linalg.norm(ink, axis=-1), 0)
    core = spot & (depth >= 0.85 * depth.max())
    seen = np.median(light[core], axis=0)
    colour = min(COLORS, key=lambda name: float(np.square(seen - COLORS[name][2]).sum()))
    full = np.median(ink[core], axis=0)
    cover = np.where(spot, (ink @ full) / max(1e-6, float(full @ full)), 0)
    return colour, np.clip(cover, 0, 1)


def _formed(colour: str, cover: Cover) -> SceneObject:
    """The form and size that cover the same pixels best, their centres of mass together."""
    height, width = cover.shape
    top, left, cover = _cropped(cover)
    y, x = (np.mgrid[: cover.shape[0], : cover.shape[1]] + 0.5) * cover / cover.sum()
    centre = float(x.sum()), float(y.sum())
    best, found = np.inf, None
    for form, size, scale in itertools.product(FORMS, SIZES, SCALES):
        radius = scale * SIZES[size][2] * min(height, width)
        dx, dy = _middle(form)
        at = centre[0] - dx * radius, centre[1] - dy * radius
        wrong = float(np.square(_covered(form, radius, at, cover.shape) - cover).sum())
        if wrong < best:
            best, found = wrong, (form, size, at)
    assert found is not None
    form, size, at = found
    place = [(left + at[0]) / width, (top + at[1]) / height]
    across, down = np.clip(place, 0, 1 - 1e-9).tolist()
    return SceneObject(form, colour, size, (int(3 * down), int(3 * across)), across, down)


def _cropped(cover: Cover) -> tuple[int, int, Cover]:
    """What is covered, with a margin of two pixels, and where its corner was."""
    rows, columns = np.nonzero(cover.any(1))[0], np.nonzero(cover.any(0))[0]
    top, left = max(0, rows[0] - 2), max(0, columns[0] - 2)
    return int(top), int(left), cover[top : rows[-1] + 3, left : columns[-1] + 3]


def _covered(form: str, radius: float, at: tuple[float, float], shape: tuple[int, ...]) -> Cover:
    """The share of each pixel that a form covers."""
    height, width = shape
    fine = (np.arange(FINER) + 0.5) / FINER
    xs = ((np.arange(width)[:, None] + fine).ravel() - at[0]) / radius
    ys = ((np.arange(height)[:, None] + fine).ravel() - at[1]) / radius
    inside = FORMS[form](xs[None, :], ys[:, None])
    inside = np.broadcast_to(inside, (height * FINER, width * FINER))
    return inside.reshape(height, FINER, width, FINER).mean((1, 3))


@dataclass(frozen=True)
class SceneMatch:
    """What of a caption an image shows; `exact` is all of it."""

    count: bool  # as many things
    shape: bool
    color: bool
    size: bool
    objects: bool  # each form in its colour and size
    relations: bool  # the place of one thing, the relation of two; of three nothing is said
    exact: bool


def match_scenes(asked: Scene, shown: Scene) -> SceneMatch:
    """Whether an image read as `shown` is what the caption of `asked` says."""

    def same(*names: str) -> bool:
        counted = [
            Counter(tuple(getattr(thing, name) for name in names) for thing in scene.objects)
            for scene in (asked, shown)
        ]
        return counted[0] == counted[1]

    things = same("shape", "color", "size")
    where = things and _as_said(asked, shown)
    return SceneMatch(
        count=len(asked.objects) == len(shown.objects),
        shape=same("shape"),
        color=same("color"),
        size=same("size"),
        objects=things,
        relations=where,
        exact=things and where,
    )


def _as_said(asked: Scene, shown: Scene) -> bool:
    """Whether an order of the things shown gives the caption that was asked for."""
    wanted = asked.captions()["en"]
    orders = itertools.permutations(shown.objects)
    return any(Scene(order).captions()["en"] == wanted for order in orders)
