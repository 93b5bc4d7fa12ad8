"""Drawn scenes: objects with a shape, colour, size and place, and their captions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from pinxit.errors import UsageError

SIZE = (64, 64)

FINER = 4  # drawn so many times larger, then averaged: smooth edges

# English, French, and whether the French noun is feminine
FORMS = {
    "circle": ("cercle", False),
    "square": ("carré", False),
    "triangle": ("triangle", False),
    "star": ("étoile", True),
    "cross": ("croix", True),
    "diamond": ("losange", False),
}

# English: French masculine, feminine, and the colour as drawn
COLOURS = {
    "red": ("rouge", "rouge", (214, 40, 40)),
    "green": ("vert", "verte", (34, 139, 70)),
    "blue": ("bleu", "bleue", (36, 82, 196)),
    "yellow": ("jaune", "jaune", (244, 196, 28)),
    "orange": ("orange", "orange", (240, 120, 20)),
    "purple": ("violet", "violette", (126, 48, 160)),
    "pink": ("rose", "rose", (240, 130, 180)),
    "black": ("noir", "noire", (28, 28, 30)),
}

# English: French masculine, feminine, and the radius as a share of the shorter side
SIZES = {"small": ("petit", "petite", 0.085), "large": ("grand", "grande", 0.15)}

# rows and columns of the places where objects stand, in English and French
PLACES = {
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

# things that no training image shows: every form is seen in every colour, and every size, but not
# in these colours and sizes at once. Scenes with one of them are the test split
HELD_OUT = frozenset(
    {
        ("small", "green", "circle"), ("large", "pink", "circle"),
        ("small", "blue", "square"), ("large", "orange", "square"),
        ("small", "black", "triangle"), ("large", "yellow", "triangle"),
        ("small", "red", "star"), ("large", "blue", "star"),
        ("small", "purple", "cross"), ("large", "black", "cross"),
        ("small", "green", "diamond"), ("large", "red", "diamond"),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One object: its factors."""

    form: str  # of FORMS
    colour: str  # of COLOURS
    size: str  # of SIZES
    place: tuple[int, int]  # row and column among nine
    x: float  # of its centre, from 0 at the left to 1
    y: float  # from 0 at the top to 1

    @property
    def english(self) -> str:
        """`a small red star`; every size begins with a consonant, so the article is always `a`."""
        return f"a {self.size} {self.colour} {self.form}"

    @property
    def french(self) -> str:
        """`une petite étoile rouge`: size before the noun, colour after it, both agreeing."""
        noun, feminine = FORMS[self.form]
        gender = int(feminine)
        article = ("un", "une")[gender]
        return f"{article} {SIZES[self.size][gender]} {noun} {COLOURS[self.colour][gender]}"


@dataclass(frozen=True)
class Scene:
    """The objects of an image, no two of which overlap."""

    things: tuple[Thing, ...]

    @property
    def held_out(self) -> bool:
        """Whether it shows a thing that training images do not."""
        return any((thing.size, thing.colour, thing.form) in HELD_OUT for thing in self.things)

    def captions(self) -> dict[str, str]:
        """What is seen, in English and French."""
        first = self.things[0]
        if len(self.things) == 1:
            english, french = PLACES[first.place]
            return {"en": f"{first.english} {english}", "fr": f"{first.french} {french}"}
        if len(self.things) == 2:
            english, french = _relation(*self.things)
            second = self.things[1]
            # every noun's article begins with a vowel: `de un` becomes `d'un`
            return {
                "en": f"{first.english} {english} {second.english}",
                "fr": f"{first.french} {french} d'{second.french}",
            }
        a, b, c = self.things
        return {
            "en": f"{a.english}, {b.english} and {c.english}",
            "fr": f"{a.french}, {b.french} et {c.french}",
        }


def _relation(one: Thing, other: Thing) -> tuple[str, str]:
    """Where the one is, seen from the other, along the axis on which they are further apart."""
    right, down = one.x - other.x, one.y - other.y
    if abs(down) > abs(right):
        return ("below", "en dessous") if down > 0 else ("above", "au-dessus")
    return ("to the right of", "à droite") if right > 0 else ("to the left of", "à gauche")


def scene(seed: int, number: int) -> Scene:
    """Scene `number` of a seed: forms, colours, sizes and places by chance, alike likely."""
    random = np.random.default_rng((seed, number))
    count = int(random.integers(1, 4))
    cells = random.permutation(9)[:count]
    things = []
    for cell in cells:
        row, column = divmod(int(cell), 3)
        size = str(random.choice(list(SIZES)))
        slack = 1 / 6 - SIZES[size][2]  # how far from its cell's middle it may stand
        across, down = random.uniform(-slack, slack, 2)
        form, colour = str(random.choice(list(FORMS))), str(random.choice(list(COLOURS)))
        x, y = (column + 0.5) / 3 + across, (row + 0.5) / 3 + down
        things.append(Thing(form, colour, size, (row, column), float(x), float(y)))
    return Scene(tuple(things))


def scene_named(name: str) -> Scene:
    """The scene of an image's name, `shapes-<seed>-<number>`, with its factors.

    Raises UsageError for another name.
    """
    match = re.fullmatch(r"shapes-(\d+)-(\d+)", name)
    if match is None:
        raise UsageError(f"'{name}' is no image of shapes.")
    return scene(int(match[1]), int(match[2]))


def draw(seed: int, number: int, size: tuple[int, int]) -> np.ndarray:
    """The image of scene `number` of a seed."""
    return draw_scene(scene(seed, number), size)


def draw_scene(shown: Scene, size: tuple[int, int]) -> np.ndarray:
    """The image of a scene on white, uint8 `[height, width, 3]`."""
    from PIL import Image, ImageDraw

    height, width = size
    sheet = Image.new("RGB", (width * FINER, height * FINER), "white")
    pen = ImageDraw.Draw(sheet)
    for thing in shown.things:
        radius = SIZES[thing.size][2] * min(sheet.size)
        centre = thing.x * sheet.width, thing.y * sheet.height
        colour = COLOURS[thing.colour][2]
        if thing.form == "circle":
            pen.circle(centre, radius, fill=colour)
        else:
            outline = [(centre[0] + radius * x, centre[1] + radius * y) for x, y in _outline(thing)]
            pen.polygon(outline, fill=colour)
    return np.asarray(sheet.reduce(FINER))


def _outline(thing: Thing) -> list[tuple[float, float]]:
    """Corners of a form in a circle of radius one; y grows downward."""
    if thing.form == "square":
        return [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]
    if thing.form == "triangle":
        return [(0.0, -0.95), (0.95, 0.75), (-0.95, 0.75)]
    if thing.form == "diamond":
        return [(0.0, -1.0), (0.72, 0.0), (0.0, 1.0), (-0.72, 0.0)]
    if thing.form == "star":
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
