"""Edits of synthetic scenes: a scene, an instruction in English and French, the scene after it.

An instruction names an object by its size, color and shape, so only objects that differ from all
others of the scene are edited.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pinxit.data.scenes.scene import (
    COLORS,
    HELD_OUT,
    POSITIONS,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    random_scene,
)
from pinxit.data.split_names import Split


@dataclass(frozen=True)
class Edit:
    """A scene, an instruction by language, and the scene after it."""

    before: Scene
    instruction: dict[str, str]
    after: Scene

    @property
    def split(self) -> Split | None:
        """The held-out split of either scene; `test-held-out` if they have different ones."""
        splits = {self.before.split, self.after.split}
        return next((split for split in reversed(HELD_OUT) if split in splits), None)


def random_edit(seed: int, index: int) -> Edit:
    """Sample edit `index` of a seed: scene `index` of that seed with one object changed.

    It is a function of (seed, index) alone. The object gets another color, size or shape, is
    removed, or a new one is added.
    """
    rng = np.random.default_rng((seed, index, 1))
    before = random_scene(seed, index)
    candidates = [obj for obj in before.objects if _is_unique(obj, before)]
    if not candidates:  # all objects are alike: one scene in thousands
        return _recolor_all(before)
    edits = [_recolor, _resize, _reshape]
    edits += [_remove] if len(before.objects) > 1 else []
    edits += [_add] if len(before.objects) < 3 else []
    edit = edits[int(rng.integers(len(edits)))]
    return edit(before, candidates[int(rng.integers(len(candidates)))], rng)


def definite_phrases(obj: SceneObject) -> tuple[str, str]:
    """An object in English and French: `the small red star`, `la petite étoile rouge`.

    No elision: the French size comes between article and noun and begins with a consonant.
    """
    noun = SHAPES[obj.shape]
    english = obj.english.removeprefix("a ")
    french = obj.french.removeprefix(f"{noun.indefinite_article} ")
    return f"the {english}", f"{noun.definite_article} {french}"


def _is_unique(obj: SceneObject, scene: Scene) -> bool:
    return sum(other.english == obj.english for other in scene.objects) == 1


def _choose_other(names: Iterable[str], current: str, rng: np.random.Generator) -> str:
    others = [name for name in names if name != current]
    return others[int(rng.integers(len(others)))]


def _replace(scene: Scene, obj: SceneObject, new: SceneObject) -> Scene:
    return Scene(tuple(new if other is obj else other for other in scene.objects))


def _recolor(before: Scene, obj: SceneObject, rng: np.random.Generator) -> Edit:
    color = _choose_other(COLORS, obj.color, rng)
    english, french = definite_phrases(obj)
    instruction = {
        "en": f"make {english} {color}",
        "fr": f"colorie {french} en {COLORS[color].french.masculine}",
    }
    return Edit(before, instruction, _replace(before, obj, dataclasses.replace(obj, color=color)))


def _resize(before: Scene, obj: SceneObject, rng: np.random.Generator) -> Edit:
    size = _choose_other(SIZES, obj.size, rng)
    slack = 1 / 6 - SIZES[size].radius  # a larger object is moved so that it stays in its cell
    center_y, center_x = ((cell + 0.5) / 3 for cell in obj.position)
    x = float(np.clip(obj.x, center_x - slack, center_x + slack))
    y = float(np.clip(obj.y, center_y - slack, center_y + slack))
    english, french = definite_phrases(obj)
    verb = "agrandis" if size == "large" else "rapetisse"
    instruction = {"en": f"make {english} {size}", "fr": f"{verb} {french}"}
    resized = dataclasses.replace(obj, size=size, x=x, y=y)
    return Edit(before, instruction, _replace(before, obj, resized))


def _reshape(before: Scene, obj: SceneObject, rng: np.random.Generator) -> Edit:
    shape = _choose_other(SHAPES, obj.shape, rng)
    english, french = definite_phrases(obj)
    instruction = {
        "en": f"turn {english} into a {shape}",
        "fr": f"change {french} en {SHAPES[shape].singular}",
    }
    return Edit(before, instruction, _replace(before, obj, dataclasses.replace(obj, shape=shape)))


def _remove(before: Scene, obj: SceneObject, rng: np.random.Generator) -> Edit:
    english, french = definite_phrases(obj)
    instruction = {"en": f"remove {english}", "fr": f"enlève {french}"}
    return Edit(before, instruction, Scene(tuple(o for o in before.objects if o is not obj)))


def _add(before: Scene, obj: SceneObject, rng: np.random.Generator) -> Edit:
    """Add an object in the center of a free cell."""
    free = [cell for cell in POSITIONS if all(other.position != cell for other in before.objects)]
    row, column = free[int(rng.integers(len(free)))]
    shape, color, size = (str(rng.choice(list(names))) for names in (SHAPES, COLORS, SIZES))
    new = SceneObject(shape, color, size, (row, column), (column + 0.5) / 3, (row + 0.5) / 3)
    english, french = POSITIONS[(row, column)]
    instruction = {
        "en": f"add {new.english} {english}",
        "fr": f"ajoute {new.french} {french}",
    }
    return Edit(before, instruction, Scene((*before.objects, new)))


def _recolor_all(before: Scene) -> Edit:
    """Recolor all objects, if no description is unique."""
    color = next(name for name in COLORS if all(obj.color != name for obj in before.objects))
    after = Scene(tuple(dataclasses.replace(obj, color=color) for obj in before.objects))
    instruction = {
        "en": f"make everything {color}",
        "fr": f"colorie tout en {COLORS[color].french.masculine}",
    }
    return Edit(before, instruction, after)
