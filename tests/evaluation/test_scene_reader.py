"""The scene reader against the renderer, which shares no code with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from pinxit.data.scenes.scene import (
    Scene,
    random_scene,
    render_scene,
)
from pinxit.evaluation.scene_reader import match_scenes, parse_scene


@pytest.mark.parametrize(
    ("side", "max_errors"), [pytest.param(64, 0.005, marks=pytest.mark.long), (32, 0.01)]
)
def test_rendered_scenes_are_read_correctly(side, max_errors):
    num_errors = 0
    for index in range(200):
        scene = random_scene(5, index)
        num_errors += not match_scenes(scene, parse_scene(render_scene(scene, (side, side)))).exact
    assert num_errors <= max_errors * 200


def test_positions_are_read_to_about_a_pixel():
    for index in range(40):
        scene = random_scene(6, index)
        truth = {obj.position: obj for obj in scene.objects}
        for obj in parse_scene(render_scene(scene, (96, 64))).objects:
            assert abs(obj.x - truth[obj.position].x) < 1.5 / 64
            assert abs(obj.y - truth[obj.position].y) < 1.5 / 96


def test_slight_blur_and_noise_do_not_disturb_reading():
    rng = np.random.default_rng(0)
    num_correct = 0
    for index in range(60):
        scene = random_scene(7, index)
        pixels = render_scene(scene, (64, 64)).astype(float)
        soft = ndimage.gaussian_filter(pixels, (0.7, 0.7, 0))
        noisy = np.clip(soft + rng.normal(scale=6, size=soft.shape), 0, 255).astype(np.uint8)
        num_correct += match_scenes(scene, parse_scene(noisy)).exact
    assert num_correct >= 57


def test_blank_and_random_images_can_be_read():
    assert parse_scene(np.full((32, 32, 3), 255, np.uint8)).objects == ()
    rng = np.random.default_rng(0)
    parse_scene(rng.integers(0, 256, (32, 32, 3), np.uint8))


def test_differences_are_reported_by_attribute():
    scenes = (random_scene(0, i) for i in range(99))
    target = next(scene for scene in scenes if len(scene.objects) == 2)
    first, second = target.objects
    other = dataclasses.replace(first, color="pink" if first.color != "pink" else "red")
    recolored = match_scenes(target, Scene((other, second)))
    assert (recolored.shape, recolored.color, recolored.exact) == (True, False, False)
    assert match_scenes(target, target).exact
    assert match_scenes(target, Scene((second, first))).exact, "the order is the caption's alone"
    assert not match_scenes(target, Scene((first,))).count
    swapped = Scene(
        (
            dataclasses.replace(first, x=second.x, y=second.y, position=second.position),
            dataclasses.replace(second, x=first.x, y=first.y, position=first.position),
        )
    )
    assert match_scenes(target, swapped).objects
    assert not match_scenes(target, swapped).relations
