"""Images before and after: of folders, of drawn scenes and of emoji."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from pinxit.data.load import load_images
from pinxit.data.scenes.edits import random_edit
from pinxit.data.scenes.scene import render_scene
from pinxit.data.sources.emoji_edits import detect_gender, instruction_between
from pinxit.evaluation.scene_reader import match_scenes, parse_scene


def image(value, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


def test_a_folder_of_pairs(tmp_path):
    for i in range(6):
        image(10 * i, tmp_path / f"pair{i}" / "before.png")
        image(10 * i + 5, tmp_path / f"pair{i}" / "after.png")
        (tmp_path / f"pair{i}" / "after.en.txt").write_text(f"brighter {i}")
    image(200, tmp_path / "alone.png")
    images = load_images(tmp_path, progress=False, color="grey")
    assert list(images.names) == [f"pair{i}" for i in range(6)]
    assert (images.pixels[:, 0, 0, 0] == images.before[:, 0, 0, 0] + 5).all()
    assert images.captions["en"][3] == "brighter 3"
    assert images.labels is None
    assert [item.reason for item in images.skipped] == ["one of no pair"]
    some = images.take(np.array([4, 1]))
    assert some.before[:, 0, 0, 0].tolist() == [40, 10]
    batch = images.batch(np.array([2]))
    assert batch.before[0, 0, 0, 0] == 20
    assert batch.captions == {"en": ["brighter 2"]}


def test_single_images_stay_as_they_are(tmp_path):
    for name in ("a", "before", "after"):
        image(7, tmp_path / f"{name}.png")
    assert load_images(tmp_path, progress=False).before is None


def test_pairs_of_drawn_scenes_are_those_of_the_edits():
    images = load_images("shapes-edits:40", size=64, progress=False, cache=False)
    assert len(images) == 40
    for i in (0, 17, 39):
        edit = random_edit(0, i)
        assert np.array_equal(images.before[i], render_scene(edit.before, (64, 64)))
        assert np.array_equal(images.pixels[i], render_scene(edit.after, (64, 64)))
        assert images.captions["fr"][i] == edit.instruction["fr"]
        assert (images.splits[i] == 2) >= edit.held_out
        assert match_scenes(edit.after, parse_scene(images.pixels[i])).objects


def test_a_limit_keeps_pairs_together():
    images = load_images("shapes-edits:40", size=32, limit=20, progress=False, cache=False)
    assert len(images) == 10


def row(emoji, variant=""):
    return {"emoji": emoji, "variant": variant}


def test_what_is_asked_of_emoji():
    assert detect_gender("🏄‍♀️") == "woman"
    assert detect_gender("👋🏿") == ""
    assert detect_gender("👨‍👩‍👧") is None
    dark = {"en": "make the skin dark", "fr": "rends la peau foncée"}
    assert instruction_between(row("👋"), row("👋🏿", "dark skin tone")) == dark
    assert instruction_between(row("👋🏿", "dark skin tone"), row("👋")) is None
    assert instruction_between(row("🏄‍♀️"), row("🏄‍♂️"))["fr"] == "fais-en un homme"
    assert instruction_between(row("🏄‍♀️"), row("🏄‍♂️", "dark skin tone")) is None
    assert instruction_between(row("🏄"), row("🏄‍♀️"))["en"] == "make it a woman"
    assert instruction_between(row("🏄‍♀️"), row("🏄")) is None


@pytest.mark.skipif("PINXIT_DATA" not in os.environ, reason="PINXIT_DATA names no data folder")
def test_pairs_of_emoji():
    images = load_images("emoji-edits", size=16, progress=False)
    assert len(images) > 1_000
    assert set(images.captions) == {"en", "fr"}
    assert "make it a woman" in images.captions["en"]
    different = (images.pixels != images.before).any((1, 2, 3))
    assert different.mean() > 0.9
