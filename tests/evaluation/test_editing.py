"""Edits of scenes against their instructions."""

from __future__ import annotations

import pytest

from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.scenes.edits import random_edit
from pinxit.data.scenes.scene import Scene, random_scene
from pinxit.evaluation.editing import check_edit, edit_metrics
from tests.builders import values_of


def test_true_edits_are_exact_and_unchanged_images_are_not():
    pairs = load_images("shapes-edits:30", size=64, progress=False, cache=False)
    edited = values_of(edit_metrics(Images(pairs.pixels), pairs))
    assert edited["edit_exact"] == edited["edit_reader_ceiling"] > 0.9
    assert edited["edit_psnr"] == pytest.approx(58.92, abs=0.01)
    unchanged = values_of(edit_metrics(Images(pairs.before), pairs))
    assert unchanged["edit_exact"] == 0
    assert unchanged["edit_applied"] == 0
    assert unchanged["edit_preserved"] > 0.9
    assert unchanged["edit_psnr"] == unchanged["identity_psnr"] < 40


def test_an_edit_check_separates_what_is_applied_from_what_is_preserved():
    edits = (random_edit(0, i) for i in range(100))
    edit = next(edit for edit in edits if len(edit.before.objects) == 3)
    assert check_edit(edit, edit.after) == (True, True)
    assert check_edit(edit, edit.before).applied is False
    unchanged = [obj for obj in edit.after.objects if obj in edit.before.objects]
    without_one = Scene(tuple(obj for obj in edit.after.objects if obj is not unchanged[0]))
    assert check_edit(edit, without_one).preserved is False
    assert check_edit(edit, random_scene(99, 99)) == (False, False)
