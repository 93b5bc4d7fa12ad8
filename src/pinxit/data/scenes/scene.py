"""Synthetic scenes: objects with a shape, color, size and position, their captions and images."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pinxit.data.split_names import Split
from pinxit.errors import UsageError

DEFAULT_SIZE = (64, 64)  # pixels: height and width of an image, unless another size is given

SUPERSAMPLING = 4  # images are drawn this many times larger and averaged, which smooths the edges


class FrenchNoun(NamedTuple):
    """The singular of a noun, and its gender."""

    singular: str
    is_feminine: bool

    @property
    def indefinite_article(self) -> str:
        return "une" if self.is_feminine else "un"

    @property
    def definite_article(self) -> str:
        """Before a word that begins with a consonant, so without elision."""
        return "la" if self.is_feminine else "le"


class FrenchAdjective(NamedTuple):
    """Both forms of an adjective."""

    masculine: str
    feminine: str

    def agree_with(self, noun: FrenchNoun) -> str:
        """Return the form for the noun's gender."""
        return self.feminine if noun.is_feminine else self.masculine


class Color(NamedTuple):
    """The RGB values of a color, 0 to 255, and its French adjective."""

    rgb: tuple[int, int, int]
    french: FrenchAdjective


class ObjectSize(NamedTuple):
    """The radius as a fraction of the image's shorter side, and the French adjective."""

    radius: float
    french: FrenchAdjective


# the French noun of each shape; its geometry is in `render_scene`
SHAPES = {
    "circle": FrenchNoun("cercle", is_feminine=False),
    "square": FrenchNoun("carré", is_feminine=False),
    "triangle": FrenchNoun("triangle", is_feminine=False),
    "star": FrenchNoun("étoile", is_feminine=True),
    "cross": FrenchNoun("croix", is_feminine=True),
    "diamond": FrenchNoun("losange", is_feminine=False),
}

COLORS = {
    "red": Color((214, 40, 40), FrenchAdjective("rouge", "rouge")),
    "green": Color((34, 139, 70), FrenchAdjective("vert", "verte")),
    "blue": Color((36, 82, 196), FrenchAdjective("bleu", "bleue")),
    "yellow": Color((244, 196, 28), FrenchAdjective("jaune", "jaune")),
    "orange": Color((240, 120, 20), FrenchAdjective("orange", "orange")),
    "purple": Color((126, 48, 160), FrenchAdjective("violet", "violette")),
    "pink": Color((240, 130, 180), FrenchAdjective("rose", "rose")),
    "black": Color((28, 28, 30), FrenchAdjective("noir", "noire")),
}

SIZES = {
    "small": ObjectSize(0.085, FrenchAdjective("petit", "petite")),
    "large": ObjectSize(0.15, FrenchAdjective("grand", "grande")),
}

# row and column in the 3 x 3 grid of cells: English and French
POSITIONS = {
    (0, 0): ("at the top left", "en haut à gauche"),
    (0, 1): ("at the top", "en haut"),
    (0, 2): ("at the top right", "en haut à droite"),
    (1, 0): ("on the left", "à gauche"),
    (1, 1): ("in the middle", "au milieu"),
    (1, 2): ("on the right", "à droite"),
    (2, 0): ("at the bottom left", "en bas à gauche"),
    (2, 1): ("at the bottom", "en bas"),
    (2, 2): ("at the bottom right", "en bas à droite"),
}

# Combinations of size, color and shape that no training image has, by split: those to choose
# options on, and those to report on. In training every shape occurs in every color and in both
# sizes, but not in these colors and sizes at once. The two sets are alike: each color once, four
# small and four large objects, every shape.
HELD_OUT: dict[Split, frozenset[tuple[str, str, str]]] = {
    "validation-held-out": frozenset(
        {
            ("large", "pink", "circle"), ("large", "orange", "square"),
            ("small", "black", "triangle"), ("large", "yellow", "triangle"),
            ("small", "red", "star"), ("large", "blue", "star"),
            ("small", "purple", "cross"), ("small", "green", "diamond"),
        }
    ),
    "test-held-out": frozenset(
        {
            ("small", "blue", "circle"), ("large", "black", "circle"),
            ("small", "green", "square"), ("large", "purple", "triangle"),
            ("small", "orange", "star"), ("large", "red", "cross"),
            ("small", "pink", "diamond"), ("large", "yellow", "diamond"),
        }
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SceneObject:
    """An object of a scene, by its factors of variation."""

    shape: str  # key of SHAPES
    color: str  # key of COLORS
    size: str  # key of SIZES
    position: tuple[int, int]  # key of POSITIONS: the cell that the center lies in
    x: float  # of the center, from 0 at the left edge to 1
    y: float  # of the center, from 0 at the top edge to 1

    @property
    def english(self) -> str:
        """`a small red star`. Every size begins with a consonant, so the article is `a`."""
        return f"a {self.size} {self.color} {self.shape}"

    @property
    def french(self) -> str:
        """`une petite étoile rouge`: size before the noun, color after it, both agreeing."""
        noun = SHAPES[self.shape]
        size, color = SIZES[self.size].french, COLORS[self.color].french
        before = f"{noun.indefinite_article} {size.agree_with(noun)}"
        return f"{before} {noun.singular} {color.agree_with(noun)}"


@dataclass(frozen=True)
class Scene:
    """One to three objects that do not overlap."""

    objects: tuple[SceneObject, ...]

    @property
    def split(self) -> Split | None:
        """The held-out split that an object's combination belongs to; None if none does.

        A scene with combinations of both belongs to `test-held-out`, so that those stay unseen
        while options are chosen.
        """
        shown = {(obj.size, obj.color, obj.shape) for obj in self.objects}
        return next((split for split in reversed(HELD_OUT) if HELD_OUT[split] & shown), None)

    def captions(self) -> dict[str, str]:
        """Return the captions by language: `en` and `fr`.

        One object: with its position. Two: with their spatial relation. Three: as a list.
        """
        first = self.objects[0]
        if len(self.objects) == 1:
            english, french = POSITIONS[first.position]
            return {"en": f"{first.english} {english}", "fr": f"{first.french} {french}"}
        if len(self.objects) == 2:
            english, french = _relation(*self.objects)
            second = self.objects[1]
            # both French articles begin with a vowel: `de un` becomes `d'un`
            return {
                "en": f"{first.english} {english} {second.english}",
                "fr": f"{first.french} {french} d'{second.french}",
            }
        a, b, c = self.objects
        return {
            "en": f"{a.english}, {b.english} and {c.english}",
            "fr": f"{a.french}, {b.french} et {c.french}",
        }


def _relation(first: SceneObject, second: SceneObject) -> tuple[str, str]:
    """Return the position of the first object relative to the second, in English and French.

    It refers to the axis on which their centers differ more.
    """
    right, down = first.x - second.x, first.y - second.y
    if abs(down) > abs(right):
        return ("below", "en dessous") if down > 0 else ("above", "au-dessus")
    return ("to the right of", "à droite") if right > 0 else ("to the left of", "à gauche")


def random_scene(seed: int, index: int) -> Scene:
    """Sample scene `index` of a seed, with all factors uniformly distributed.

    It is a function of (seed, index) alone.
    """
    rng = np.random.default_rng((seed, index))
    count = int(rng.integers(1, 4))
    return Scene(tuple(_random_object(rng, int(cell)) for cell in rng.permutation(9)[:count]))


def _random_object(rng: np.random.Generator, cell: int) -> SceneObject:
    row, column = divmod(cell, 3)
    size = str(rng.choice(list(SIZES)))
    slack = 1 / 6 - SIZES[size].radius  # how far from the center of its cell it may be
    dx, dy = rng.uniform(-slack, slack, 2)
    shape, color = str(rng.choice(list(SHAPES))), str(rng.choice(list(COLORS)))
    x, y = (column + 0.5) / 3 + dx, (row + 0.5) / 3 + dy
    return SceneObject(shape, color, size, (row, column), float(x), float(y))


def scene_from_name(name: str) -> Scene:
    """Return the scene of an image of `shapes`, named `shapes-<seed>-<index>`.

    Raises UsageError for another name.
    """
    match = re.fullmatch(r"shapes-(\d+)-(\d+)", name)
    if match is None:
        raise UsageError(f"'{name}' is not an image of the source `shapes`.")
    return random_scene(int(match[1]), int(match[2]))


def render_scene(scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """Draw a scene on white, at a size (height, width): uint8 `[height, width, 3]`."""
    height, width = size
    canvas = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING), "white")
    draw = ImageDraw.Draw(canvas)
    for obj in scene.objects:
        radius = SIZES[obj.size].radius * min(canvas.size)
        x, y = obj.x * canvas.width, obj.y * canvas.height
        fill = COLORS[obj.color].rgb
        if obj.shape == "circle":
            draw.circle((x, y), radius, fill=fill)
        else:
            corners = [(x + radius * dx, y + radius * dy) for dx, dy in _corners(obj.shape)]
            draw.polygon(corners, fill=fill)
    return np.asarray(canvas.reduce(SUPERSAMPLING))


def _corners(shape: str) -> list[tuple[float, float]]:
    """Return the corners of a shape with radius 1 around the origin; y points down."""
    if shape == "square":
        return [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]
    if shape == "triangle":
        return [(0.0, -0.95), (0.95, 0.75), (-0.95, 0.75)]
    if shape == "diamond":
        return [(0.0, -1.0), (0.72, 0.0), (0.0, 1.0), (-0.72, 0.0)]
    if shape == "star":
        radii = [1.0, 0.42] * 5
        return [
            (r * math.sin(math.pi * i / 5), -r * math.cos(math.pi * i / 5))
            for i, r in enumerate(radii)
        ]
    arm, end = 0.32, 0.95  # a cross
    return [
        (-arm, -end), (arm, -end), (arm, -arm), (end, -arm), (end, arm), (arm, arm),
        (arm, end), (-arm, end), (-arm, arm), (-end, arm), (-end, -arm), (-arm, -arm),
    ]  # fmt: skip
