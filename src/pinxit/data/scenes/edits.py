"""Edits of drawn scenes: a scene, what is asked for in English and French, and the scene after it.

Edit `i` of a seed begins at scene `i` of that seed and is a function of the two alone. A thing is
named by its size, colour and form, so only things that this tells from all others are edited.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pinxit.data.scenes.scene import COLOURS, FORMS, PLACES, SIZES, Scene, Thing, scene


@dataclass(frozen=True)
class Edit:
    """What was, what is asked for by language, and what is then."""

    before: Scene
    instruction: dict[str, str]
    after: Scene

    @property
    def held_out(self) -> bool:
        """Whether either scene shows what no training image does."""
        return self.before.held_out or self.after.held_out


def edit(seed: int, number: int) -> Edit:
    """Edit `number` of a seed: a colour, size or form changed, a thing taken away or added."""
    random = np.random.default_rng((seed, number, 1))
    before = scene(seed, number)
    named = [thing for thing in before.things if _alone(thing, before)]
    if not named:  # all alike, once in thousands of scenes
        return _recoloured_all(before)
    kinds = [_recoloured, _resized, _reshaped]
    kinds += [_without] if len(before.things) > 1 else []
    kinds += [_with] if len(before.things) < 3 else []
    kind = kinds[int(random.integers(len(kinds)))]
    return kind(before, named[int(random.integers(len(named)))], random)


def the(thing: Thing) -> tuple[str, str]:
    """`the small red star`, `la petite étoile rouge`: the size stands between article and noun, so
    no article loses its vowel."""
    feminine = FORMS[thing.form][1]
    english = thing.english.removeprefix("a ")
    french = thing.french.split(" ", 1)[1]
    return f"the {english}", f"{'la' if feminine else 'le'} {french}"


def _alone(thing: Thing, shown: Scene) -> bool:
    return sum(other.english == thing.english for other in shown.things) == 1


def _replaced(before: Scene, thing: Thing, **changes: str) -> Scene:
    changed = dataclasses.replace(thing, **changes)  # type: ignore[arg-type]
    return Scene(tuple(changed if other is thing else other for other in before.things))


def _other(names: dict, but: str, random: np.random.Generator) -> str:
    left = [name for name in names if name != but]
    return left[int(random.integers(len(left)))]


def _recoloured(before: Scene, thing: Thing, random: np.random.Generator) -> Edit:
    colour = _other(COLOURS, thing.colour, random)
    english, french = the(thing)
    asked = {"en": f"make {english} {colour}", "fr": f"colorie {french} en {COLOURS[colour][0]}"}
    return Edit(before, asked, _replaced(before, thing, colour=colour))


def _resized(before: Scene, thing: Thing, random: np.random.Generator) -> Edit:
    size = _other(SIZES, thing.size, random)
    # a larger thing stays within its ninth of the image
    room = 1 / 6 - SIZES[size][2]
    middle = [(cell + 0.5) / 3 for cell in thing.place]
    y, x = (
        float(np.clip(at, centre - room, centre + room))
        for at, centre in zip((thing.y, thing.x), middle, strict=True)
    )
    after = _replaced(before, thing, size=size)
    things = (
        dataclasses.replace(t, x=x, y=y) if t.place == thing.place else t for t in after.things
    )
    english, french = the(thing)
    verb = "agrandis" if size == "large" else "rapetisse"
    asked = {"en": f"make {english} {size}", "fr": f"{verb} {french}"}
    return Edit(before, asked, Scene(tuple(things)))


def _reshaped(before: Scene, thing: Thing, random: np.random.Generator) -> Edit:
    form = _other(FORMS, thing.form, random)
    english, french = the(thing)
    asked = {"en": f"turn {english} into a {form}", "fr": f"change {french} en {FORMS[form][0]}"}
    return Edit(before, asked, _replaced(before, thing, form=form))


def _without(before: Scene, thing: Thing, random: np.random.Generator) -> Edit:
    english, french = the(thing)
    asked = {"en": f"remove {english}", "fr": f"enlève {french}"}
    return Edit(before, asked, Scene(tuple(t for t in before.things if t is not thing)))


def _with(before: Scene, thing: Thing, random: np.random.Generator) -> Edit:
    """A thing more, in the middle of a place that is free."""
    free = [place for place in PLACES if all(t.place != place for t in before.things)]
    row, column = free[int(random.integers(len(free)))]
    form, colour, size = (str(random.choice(list(names))) for names in (FORMS, COLOURS, SIZES))
    new = Thing(form, colour, size, (row, column), (column + 0.5) / 3, (row + 0.5) / 3)
    english, french = PLACES[(row, column)]
    asked = {"en": f"add {new.english} {english}", "fr": f"ajoute {new.french} {french}"}
    return Edit(before, asked, Scene((*before.things, new)))


def _recoloured_all(before: Scene) -> Edit:
    """Of things that no name tells apart all are changed."""
    colour = next(name for name in COLOURS if all(t.colour != name for t in before.things))
    after = Scene(tuple(dataclasses.replace(t, colour=colour) for t in before.things))
    asked = {"en": f"make everything {colour}", "fr": f"colorie tout en {COLOURS[colour][0]}"}
    return Edit(before, asked, after)
