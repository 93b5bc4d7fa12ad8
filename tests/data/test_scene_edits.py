"""Edits of synthetic scenes: grammar against a table checked by hand, and what an edit changes."""

from __future__ import annotations

import pytest

from pinxit.data.scenes.edits import definite_phrases, random_edit
from pinxit.data.scenes.scene import COLORS, SHAPES, SIZES, SceneObject, render_scene
from pinxit.evaluation.scene_reader import match_scenes, parse_scene

# every noun, color and size with its gender, checked by hand
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
SIZE_ADJECTIVES = {"small": ("petit", "petite"), "large": ("grand", "grande")}


def scene_object(shape, color, size="small"):
    return SceneObject(shape, color, size, (1, 1), 0.5, 0.5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("size", SIZES)
def test_definite_phrases_agree_in_gender(shape, color, size):
    words = {
        "petit": SIZE_ADJECTIVES[size][0],
        "petite": SIZE_ADJECTIVES[size][1],
        "rouge": ADJECTIVES[color][0],
        "rouge_f": ADJECTIVES[color][1],
    }
    definite = NOUNS[shape].format(**words)
    assert definite_phrases(scene_object(shape, color, size)) == (
        f"the {size} {color} {shape}",
        definite,
    )
    article = {"le": "un", "la": "une"}[definite.split()[0]]
    indefinite = f"{article} {definite.split(' ', 1)[1]}"
    assert scene_object(shape, color, size).french == indefinite
    assert scene_object(shape, color, size).english == f"a {size} {color} {shape}"


def verbs(index: int) -> tuple[str, str]:
    instruction = random_edit(0, index).instruction
    return instruction["en"].split()[0], instruction["fr"].split()[0]


def test_every_type_of_edit_is_sampled_in_both_languages():
    assert {verbs(index) for index in range(300)} == {
        ("make", "colorie"),
        ("make", "agrandis"),
        ("make", "rapetisse"),
        ("turn", "change"),
        ("remove", "enlève"),
        ("add", "ajoute"),
    }


def test_an_edit_is_deterministic_and_changes_one_object():
    for index in range(200):
        edit = random_edit(3, index)
        assert edit == random_edit(3, index)
        before, after = set(edit.before.objects), set(edit.after.objects)
        if "everything" in edit.instruction["en"]:
            assert len(before - after) == len(before) == len(after)
            continue
        assert len(before ^ after) in (1, 2), edit.instruction
        assert len(before - after) <= 1
        for obj in edit.after.objects:
            radius = SIZES[obj.size].radius
            for center, cell in zip((obj.y, obj.x), obj.position, strict=True):
                assert cell / 3 - 1e-9 <= center - radius
                assert center + radius <= (cell + 1) / 3 + 1e-9


def test_the_scene_reader_recognizes_the_edited_scene():
    for index in range(60):
        edit = random_edit(4, index)
        parsed = parse_scene(render_scene(edit.after, (64, 64)))
        assert match_scenes(edit.after, parsed).objects, edit.instruction
        assert not match_scenes(edit.before, parsed).objects, edit.instruction
