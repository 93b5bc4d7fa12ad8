"""Pairs of images before and after an edit: from folders, synthetic scenes and emoji."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from pinxit.data.load import load_images
from pinxit.data.scenes.edits import random_edit
from pinxit.data.scenes.scene import render_scene
from pinxit.data.sources.emoji_edits import detect_gender, instruction_between
from pinxit.data.split_names import SPLITS
from pinxit.evaluation.scene_reader import match_scenes, parse_scene


def save_image(value, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


def test_a_folder_of_pairs_is_loaded_as_edits(tmp_path):
    for i in range(6):
        save_image(10 * i, tmp_path / f"pair{i}" / "before.png")
        save_image(10 * i + 5, tmp_path / f"pair{i}" / "after.png")
        (tmp_path / f"pair{i}" / "after.en.txt").write_text(f"brighter {i}")
    save_image(200, tmp_path / "alone.png")
    images = load_images(tmp_path, progress=False, color="grey")
    assert list(images.names) == [f"pair{i}" for i in range(6)]
    assert (images.pixels[:, 0, 0, 0] == images.before[:, 0, 0, 0] + 5).all()
    assert images.captions["en"][3] == "brighter 3"
    assert images.labels is None
    assert [file.reason for file in images.skipped] == ["not one of a pair"]
    selected = images.take(np.array([4, 1]))
    assert selected.before[:, 0, 0, 0].tolist() == [40, 10]
    batch = images.batch(np.array([2]))
    assert batch.before[0, 0, 0, 0] == 20
    assert batch.captions == {"en": ["brighter 2"]}


def test_images_without_a_counterpart_are_not_joined(tmp_path):
    for name in ("a", "before", "after"):
        save_image(7, tmp_path / f"{name}.png")
    assert load_images(tmp_path, progress=False).before is None


def test_shapes_edits_renders_the_scenes_of_random_edits():
    images = load_images("shapes-edits:40", size=64, progress=False, cache=False)
    assert len(images) == 40
    for i in (0, 17, 39):
        edit = random_edit(0, i)
        assert np.array_equal(images.before[i], render_scene(edit.before, (64, 64)))
        assert np.array_equal(images.pixels[i], render_scene(edit.after, (64, 64)))
        assert images.captions["fr"][i] == edit.instruction["fr"]
        held_out = edit.split
        assert held_out is None or SPLITS[images.splits[i]] == held_out
        assert match_scenes(edit.after, parse_scene(images.pixels[i])).objects


def test_a_limit_does_not_separate_pairs():
    images = load_images("shapes-edits:40", size=32, limit=20, progress=False, cache=False)
    assert len(images) == 10


def emoji_row(emoji, variant=""):
    return {"emoji": emoji, "variant": variant}


def test_emoji_instructions_follow_from_gender_and_skin_tone():
    assert detect_gender("🏄‍♀️") == "woman"
    assert detect_gender("👋🏿") == "neutral"
    assert detect_gender("👨‍👩‍👧") is None
    dark = {"en": "make the skin dark", "fr": "rends la peau foncée"}
    assert instruction_between(emoji_row("👋"), emoji_row("👋🏿", "dark skin tone")) == dark
    assert instruction_between(emoji_row("👋🏿", "dark skin tone"), emoji_row("👋")) is None
    assert instruction_between(emoji_row("🏄‍♀️"), emoji_row("🏄‍♂️"))["fr"] == "fais-en un homme"
    assert instruction_between(emoji_row("🏄‍♀️"), emoji_row("🏄‍♂️", "dark skin tone")) is None
    assert instruction_between(emoji_row("🏄"), emoji_row("🏄‍♀️"))["en"] == "make it a woman"
    assert instruction_between(emoji_row("🏄‍♀️"), emoji_row("🏄")) is None


@pytest.mark.long
@pytest.mark.skipif("PINXIT_DATA" not in os.environ, reason="PINXIT_DATA names no data folder")
def test_emoji_pairs_have_instructions_and_different_pixels():
    images = load_images("emoji-edits", size=16, progress=False)
    assert len(images) > 1_000
    assert set(images.captions) == {"en", "fr"}
    assert "make it a woman" in images.captions["en"]
    different = (images.pixels != images.before).any((1, 2, 3))
    assert different.mean() > 0.9
