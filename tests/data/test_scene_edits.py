"""Edits of scenes: grammar against a table checked by hand, and what changes and what does not."""

from __future__ import annotations

import pytest

from pinxit.data.scenes.edits import definite_phrases, random_edit
from pinxit.data.scenes.scene import COLORS, SHAPES, SIZES, SceneObject, render_scene
from pinxit.evaluation.scene_reader import match_scenes, parse_scene

# gender and number of every noun, colour and size, checked by hand
NOUNS = {
    "circle": "le {petit} cercle {rouge}",
    "square": "le {petit} carré {rouge}",
    "triangle": "le {petit} triangle {rouge}",
    "star": "la {petite} étoile {rouge_f}",
    "cross": "la {petite} croix {rouge_f}",
    "diamond": "le {petit} losange {rouge}",
}
ADJECTIVES = {
    "red": ("rouge", "rouge"),
    "green": ("vert", "verte"),
    "blue": ("bleu", "bleue"),
    "yellow": ("jaune", "jaune"),
    "orange": ("orange", "orange"),
    "purple": ("violet", "violette"),
    "pink": ("rose", "rose"),
    "black": ("noir", "noire"),
}
SIZE = {"small": ("petit", "petite"), "large": ("grand", "grande")}


def thing(form, colour, size="small"):
    return SceneObject(form, colour, size, (1, 1), 0.5, 0.5)


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("colour", COLORS)
@pytest.mark.parametrize("size", SIZES)
def test_the_thing_agrees_in_french(form, colour, size):
    words = {
        "petit": SIZE[size][0],
        "petite": SIZE[size][1],
        "rouge": ADJECTIVES[colour][0],
        "rouge_f": ADJECTIVES[colour][1],
    }
    definite = NOUNS[form].format(**words)
    assert definite_phrases(thing(form, colour, size)) == (f"the {size} {colour} {form}", definite)
    article = {"le": "un", "la": "une"}[definite.split()[0]]
    indefinite = f"{article} {definite.split(' ', 1)[1]}"
    assert thing(form, colour, size).french == indefinite
    assert thing(form, colour, size).english == f"a {size} {colour} {form}"


def verbs(number: int) -> tuple[str, str]:
    asked = random_edit(0, number).instruction
    return asked["en"].split()[0], asked["fr"].split()[0]


def test_every_kind_of_edit_comes_up_in_both_languages():
    assert {verbs(number) for number in range(300)} == {
        ("make", "colorie"),
        ("make", "agrandis"),
        ("make", "rapetisse"),
        ("turn", "change"),
        ("remove", "enlève"),
        ("add", "ajoute"),
    }


def test_an_edit_is_the_same_each_time_and_changes_one_thing():
    for number in range(200):
        one = random_edit(3, number)
        assert one == random_edit(3, number)
        before, after = set(one.before.objects), set(one.after.objects)
        if "everything" in one.instruction["en"]:
            assert len(before - after) == len(before) == len(after)
            continue
        assert len(before ^ after) in (1, 2), one.instruction
        assert len(before - after) <= 1
        for thing in one.after.objects:
            reach = SIZES[thing.size][2]
            for at, cell in zip((thing.y, thing.x), thing.position, strict=True):
                assert cell / 3 - 1e-9 <= at - reach
                assert at + reach <= (cell + 1) / 3 + 1e-9


def test_what_is_asked_for_is_what_the_reader_sees():
    for number in range(60):
        one = random_edit(4, number)
        shown = parse_scene(render_scene(one.after, (64, 64)))
        assert match_scenes(one.after, shown).objects, one.instruction
        assert not match_scenes(one.before, shown).objects, one.instruction
