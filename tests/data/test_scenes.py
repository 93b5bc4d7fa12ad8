"""Synthetic scenes: their captions in English and French, and their pixels."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from pinxit.data.scenes.edits import random_edit
from pinxit.data.scenes.scene import (
    COLORS,
    SIZES,
    Scene,
    SceneObject,
    random_scene,
    render_scene,
    scene_from_name,
)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_captions_describe_their_scenes(seed, index):
    scene = random_scene(seed, index)
    assert scene == scene_from_name(f"shapes-{seed}-{index:06d}")
    captions = scene.captions()
    for obj in scene.objects:
        assert obj.english in captions["en"]
        assert obj.french in captions["fr"]
        assert 0 < obj.x < 1
        assert 0 < obj.y < 1
    if " above " in captions["en"]:
        assert scene.objects[0].y < scene.objects[1].y
        assert " au-dessus d'un" in captions["fr"]
    if " to the right of " in captions["en"]:
        assert scene.objects[0].x > scene.objects[1].x
        assert " à droite d'un" in captions["fr"]
    for obj in scene.objects:
        for other in scene.objects:
            min_distance = SIZES[obj.size].radius + SIZES[other.size].radius
            distance = max(abs(obj.x - other.x), abs(obj.y - other.y))
            assert obj is other or distance >= min_distance


def test_french_captions_agree_in_gender():
    french = SceneObject("star", "green", "small", (0, 0), 0.1, 0.1)
    assert french.french == "une petite étoile verte"
    assert Scene((french,)).captions()["fr"] == "une petite étoile verte en haut à gauche"
    french = SceneObject("square", "purple", "large", (1, 1), 0.5, 0.5)
    assert french.french == "un grand carré violet"
    assert SceneObject("cross", "orange", "large", (1, 1), 0.5, 0.5).french == (
        "une grande croix orange"
    )


def test_an_object_is_rendered_in_its_color_at_its_position():
    rendered = render_scene(random_scene(0, 1), (96, 96))
    for obj in random_scene(0, 1).objects:
        color = COLORS[obj.color].rgb
        assert (rendered[int(obj.y * 96), int(obj.x * 96)] == color).all()


def test_captions_and_instructions_of_a_seed_never_change():
    captions = [random_scene(0, i).captions() for i in range(500)]
    instructions = [random_edit(0, i).instruction for i in range(500)]
    digest = hashlib.sha256(json.dumps([captions, instructions], sort_keys=True).encode())
    assert digest.hexdigest()[:16] == "44f9386e5ad415be"
