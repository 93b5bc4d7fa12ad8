"""Augmentation: amounts that are applied as stated, and mirroring where images allow it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import pinxit
from pinxit.data.batch import NUM_AMOUNTS, Batch
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models import get_family
from pinxit.training import loop
from pinxit.training.augmentation import KINDS, ORDERS, apply_amounts, augment_batch
from pinxit.training.mirroring import mirror_accuracy, reason_against_mirroring, resolve_augment
from pinxit.training.settings import TrainingSettings
from tests.builders import noise_images


def pixels_of(n: int = 6, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(noise_images(n, side, side, 3).pixels)


def amounts(n: int = 6, **values: float) -> torch.Tensor:
    names = ("flip", "x", "y", "scale", "brightness", "contrast", "upside_down", "transposed")
    result = torch.zeros(n, NUM_AMOUNTS)
    for name, value in values.items():
        result[:, names.index(name)] = value
    return result


def test_amounts_of_0_change_nothing():
    pixels = pixels_of()
    assert torch.equal(apply_amounts(pixels, amounts()), pixels)


def test_a_flip_exchanges_left_and_right():
    pixels = pixels_of()
    assert torch.equal(apply_amounts(pixels, amounts(flip=1)), pixels.flip(2))


@pytest.mark.parametrize(("x", "y"), [(2, 0), (0, -1), (-2, 2)])
@pytest.mark.parametrize("flip", [0, 1])
def test_a_shift_is_whole_pixels_and_continues_the_border(x, y, flip):
    pixels = pixels_of()
    moved = apply_amounts(pixels, amounts(x=x / 32, y=y / 32, flip=flip))
    source = pixels.flip(2) if flip else pixels
    rows, columns = (torch.arange(32) - shift for shift in (y, x))
    expected = source[:, rows.clamp(0, 31)][:, :, columns.clamp(0, 31)]
    assert torch.equal(moved, expected)


def test_colors_change_by_the_stated_amounts():
    pixels = torch.full((2, 4, 4, 3), 100, dtype=torch.uint8)
    pixels[:, :2] = 120
    brighter = apply_amounts(pixels, amounts(2, brightness=0.04))
    assert torch.equal(brighter, pixels + round(255 * 0.04))
    contrast = apply_amounts(pixels, amounts(2, contrast=float(np.log(1.5))))
    assert contrast.unique().tolist() == [95, 125]


def test_images_are_turned_and_channels_exchanged():
    pixels = pixels_of()
    assert torch.equal(apply_amounts(pixels, amounts(upside_down=1)), pixels.flip(1))
    assert torch.equal(apply_amounts(pixels, amounts(transposed=1)), pixels.transpose(1, 2))
    for i, order in enumerate(ORDERS[1:]):
        exchanged = amounts()
        exchanged[::2, 8 + i] = 1
        changed = apply_amounts(pixels, exchanged)
        assert torch.equal(changed[::2], pixels[::2][..., list(order)])
        assert torch.equal(changed[1::2], pixels[1::2])


def test_grey_and_oblong_images_are_turned_as_they_allow():
    for shape, columns in (((40, 16, 24, 3), [7]), ((40, 16, 16, 1), range(8, NUM_AMOUNTS))):
        batch = augment_batch(Batch(torch.randint(256, shape, dtype=torch.uint8)), KINDS)
        assert batch.pixels.shape == shape
        assert (batch.augmentation[:, columns] == 0).all()
        assert (batch.augmentation[:, 6] != 0).any()


def test_only_the_given_kinds_are_sampled():
    batch = Batch(pixels_of(200))
    torch.manual_seed(0)
    columns = {"flip": [0], "move": [1, 2, 3], "color": [4, 5], "turn": [6, 7]}
    columns["channels"] = list(range(8, NUM_AMOUNTS))
    for kind in KINDS:
        changed = augment_batch(batch, (kind,)).augmentation
        assert (changed[:, columns[kind]] != 0).any()
        others = [c for name in KINDS if name != kind for c in columns[name]]
        assert (changed[:, others] == 0).all()
    assert augment_batch(batch, ()) is batch
    flips = augment_batch(batch, ("flip",)).augmentation[:, 0]
    assert 0.1 < flips.mean() < 0.4  # half of half


def test_an_image_before_its_edit_changes_as_the_edited_one():
    pixels = pixels_of(20)
    batch = augment_batch(Batch(pixels, before=pixels.clone()), KINDS)
    assert torch.equal(batch.pixels, batch.before)
    assert not torch.equal(batch.pixels, pixels)


def gradients(n: int, share_to_right: float) -> Images:
    """Images that become brighter to the right; the others to the left."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 16)[None, :, None].repeat(16, 0)
    is_right = rng.random(n) < share_to_right
    pixels = np.stack([ramp if right else ramp[:, ::-1] for right in is_right])
    noise = rng.integers(0, 50, pixels.shape)
    return Images((pixels + noise).astype(np.uint8))


def test_images_that_tell_left_from_right_are_not_mirrored():
    rows = np.arange(120)
    assert mirror_accuracy(gradients(120, 1.0), rows) > 0.95
    assert mirror_accuracy(gradients(120, 0.5), rows) < 0.6
    assert "mirror images" in reason_against_mirroring(gradients(120, 1.0), rows)
    assert reason_against_mirroring(gradients(120, 0.5), rows) is None


@pytest.mark.parametrize(
    "text", ["a star left of a bar", "une main à droite", "ein Pfeil nach links"]
)
def test_captions_that_say_left_or_right_forbid_mirroring(text):
    images = gradients(60, 0.5)
    captions = {"und": ["a ramp"] * 59 + [text]}
    images = dataclasses.replace(images, captions=captions)
    assert "captions say" in reason_against_mirroring(images, np.arange(60))


def test_the_default_follows_the_number_of_images():
    images = gradients(120, 0.5)
    assert resolve_augment(TrainingSettings(), images, np.arange(120)) == ("flip", "move")
    color = dataclasses.replace(images, pixels=images.pixels.repeat(3, 3))
    assert resolve_augment(TrainingSettings(), color, np.arange(120)) == KINDS[:3]
    strong = TrainingSettings(augment=("strong",))
    assert resolve_augment(strong, color, np.arange(120)) == KINDS
    assert resolve_augment(strong, images, np.arange(120)) == ("flip", "move", "turn")
    small = dataclasses.replace(color, pixels=color.pixels[:, :12])
    assert resolve_augment(TrainingSettings(), small, np.arange(120)) == ("off",)
    assert resolve_augment(TrainingSettings(), images, np.arange(120), max_images=100) == ("off",)
    given = TrainingSettings(augment=("move",))
    assert resolve_augment(given, images, np.arange(20)) == ("move",)
    assert resolve_augment(strong, small, np.arange(120)) == KINDS
    with pytest.raises(UsageError, match="these images are grey"):
        resolve_augment(TrainingSettings(augment=("channels",)), images, np.arange(20))


def test_only_models_that_reconstruct_see_images_turned():
    images = dataclasses.replace(gradients(60, 0.5), captions={"en": ["a ramp to the left"] * 60})
    rows = np.arange(60)
    assert resolve_augment(TrainingSettings(), images, rows) == ("move",)
    found = resolve_augment(TrainingSettings(), images, rows, reconstructs=True)
    assert found == ("flip", "move", "turn")


@pytest.mark.parametrize("augment", [(), ("mirror",), ("auto", "flip"), ("off", "move")])
def test_invalid_kinds_raise(augment):
    with pytest.raises(UsageError, match="augment"):
        TrainingSettings(augment=augment)


@pytest.mark.parametrize("family", ["vae", "flow"])
def test_images_are_as_they_are_after_the_fraction_that_is_set(family, tmp_path, monkeypatch):
    kinds = []

    def record(batch, given):
        kinds.append(given)
        return augment_batch(batch, given)

    monkeypatch.setattr(loop, "augment_batch", record)
    config = get_family(family).Config(width=16, depth=1)
    pinxit.train(
        config, gradients(60, 0.5), out=tmp_path / "run", steps=10, batch_size=8, quiet=True,
        augment="move", augment_until=0.6, report=False,
    )  # fmt: skip
    assert kinds[-10:] == [("move",)] * 6 + [()] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "move", "augment_until": 0.0}, "augment_until must be above 0 and at most 1"),
        ({"augment": "move", "augment_until": 1.5}, "augment_until must be above 0 and at most 1"),
        ({"augment": "off", "augment_until": 0.5}, "augment_until has no effect"),
    ],
)
def test_a_fraction_out_of_range_or_without_effect_is_refused(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        pinxit.train("vae", gradients(20, 0.5), out=tmp_path / "run", steps=1, **options)
    assert not (tmp_path / "run").exists()
