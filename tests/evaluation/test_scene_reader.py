"""The reader of scenes against the drawer, which shares no code with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from pinxit.data.load import load_images
from pinxit.data.scenes.scene import (
    COLORS,
    HELD_OUT,
    SHAPES,
    Scene,
    random_scene,
    render_scene,
    scene_from_name,
)
from pinxit.evaluation.scene_reader import match_scenes, parse_scene


@pytest.mark.parametrize(("side", "most"), [(64, 0.005), (32, 0.01)])
def test_true_images_are_read_right(side, most):
    wrong = 0
    for number in range(200):
        found = match_scenes(
            random_scene(5, number),
            parse_scene(render_scene(random_scene(5, number), (side, side))),
        )
        wrong += not found.exact
    assert wrong <= most * 200


def test_places_are_read_to_a_pixel():
    for number in range(40):
        truth = {thing.position: thing for thing in random_scene(6, number).objects}
        for thing in parse_scene(render_scene(random_scene(6, number), (96, 64))).objects:
            assert abs(thing.x - truth[thing.position].x) < 1.5 / 64
            assert abs(thing.y - truth[thing.position].y) < 1.5 / 96


def test_a_little_blur_and_noise_do_no_harm():
    random = np.random.default_rng(0)
    right = 0
    for number in range(60):
        soft = ndimage.gaussian_filter(
            render_scene(random_scene(7, number), (64, 64)).astype(float), (0.7, 0.7, 0)
        )
        noisy = np.clip(soft + random.normal(scale=6, size=soft.shape), 0, 255).astype(np.uint8)
        right += match_scenes(random_scene(7, number), parse_scene(noisy)).exact
    assert right >= 57


def test_nothing_and_chance_are_read_as_something():
    assert parse_scene(np.full((32, 32, 3), 255, np.uint8)).objects == ()
    random = np.random.default_rng(0)
    parse_scene(random.integers(0, 256, (32, 32, 3), np.uint8))


def test_what_differs_is_told_by_attribute():
    asked = next(random_scene(0, i) for i in range(99) if len(random_scene(0, i).objects) == 2)
    first, second = asked.objects
    other = dataclasses.replace(first, color="pink" if first.color != "pink" else "red")
    recoloured = match_scenes(asked, Scene((other, second)))
    assert (recoloured.shape, recoloured.color, recoloured.exact) == (True, False, False)
    assert match_scenes(asked, asked).exact
    assert match_scenes(asked, Scene((second, first))).exact, "the order is the caption's alone"
    assert not match_scenes(asked, Scene((first,))).count
    swapped = Scene(
        (
            dataclasses.replace(first, x=second.x, y=second.y, position=second.position),
            dataclasses.replace(second, x=first.x, y=first.y, position=first.position),
        )
    )
    assert match_scenes(asked, swapped).objects
    assert not match_scenes(asked, swapped).relations


def test_combinations_that_are_held_out_are_in_no_training_image():
    images = load_images("shapes:400", size=16, progress=False)
    assert {form for *_, form in HELD_OUT} == set(SHAPES)
    assert {colour for _, colour, _ in HELD_OUT} == set(COLORS)
    assert len({(colour, form) for _, colour, form in HELD_OUT}) == len(HELD_OUT)
    for split, held_out in (("train", False), ("validation", False), ("test", True)):
        part = images.split(split)
        assert len(part) > 5
        assert all(scene_from_name(name).is_held_out == held_out for name in part.names)
