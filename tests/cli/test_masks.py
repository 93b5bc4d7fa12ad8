"""A mask is the same from the command line and from Python, whatever values its run has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.cli import main
from pinxit.errors import UsageError
from pinxit.runs import FORMAT
from pinxit.sampling.inpainting import read_mask
from tests.builders import blobs

CONVERSIONS = {
    "found": {},
    "dark": {"range": "uint8:0,4000 integer:0,100000", "background": "#000000"},
    "narrow": {"range": "uint8:200,255 integer:60000,65535", "background": "#808080"},
}


@pytest.fixture(scope="module", params=[(k, c) for k in CONVERSIONS for c in (1, 3)], ids=str)
def run(request, tmp_path_factory) -> pinxit.Run:
    """A run whose images had another range and another background than a mask has."""
    name, channels = request.param
    images = dataclasses.replace(blobs(16, channels=channels), conversion=CONVERSIONS[name])
    config = pinxit.IGPT(width=8, depth=1, heads=2, palette_size=2)
    out = tmp_path_factory.mktemp("runs") / name
    return pinxit.train(config, images, out=out, steps=1, batch_size=4, quiet=True)


def random_masks(seed: int) -> dict[str, tuple[Image.Image, np.ndarray | None]]:
    """Masks of several modes, with the pixels that they say are missing (None: resized)."""
    random = np.random.default_rng(seed)
    missing = random.random((8, 8)) < 0.4
    missing[0, 0] = True
    white = np.uint8(255 * missing)
    alpha = np.dstack([np.zeros((8, 8, 3), np.uint8), 255 - white])
    return {
        "L": (Image.fromarray(white), missing),
        "1": (Image.fromarray(white).convert("1"), missing),
        "0 and 1": (Image.fromarray(np.uint8(missing)), missing),
        "RGB": (Image.fromarray(np.dstack([white] * 3)), missing),
        "transparent": (Image.fromarray(alpha), missing),
        "16 bits": (Image.fromarray(np.uint16(65_535 * missing)), missing),
        "large": (Image.fromarray(white).resize((24, 24), Image.Resampling.NEAREST), None),
        "wide": (Image.fromarray(np.uint8(random.integers(0, 256, (9, 14)))), None),
    }


@pytest.fixture
def masks_of_calls(monkeypatch) -> list[np.ndarray]:
    """The masks with which images are completed."""
    masks: list[np.ndarray] = []

    def complete(model: Any, images: Any, mask: np.ndarray, params: Any, n: int = 1) -> list:
        masks.append(mask)
        return [images] * n

    monkeypatch.setattr("pinxit.sampling.inpainting.complete_n_times", complete)
    monkeypatch.setattr("pinxit.api.completions.complete_n_times", complete)
    return masks


@pytest.mark.parametrize("kind", random_masks(0))
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mask_of_a_command_is_that_of_python(run, kind, seed, tmp_path, masks_of_calls):
    mask, missing = random_masks(seed)[kind]
    image, file = blobs(1).save(tmp_path / "image.png"), tmp_path / "mask.png"
    mask.save(file)
    words = ["complete", run.path, image, "--mask", file, "-o", tmp_path / "x.npy"]
    assert main([str(word) for word in words]) == 0
    forms = [file, str(file), mask]
    if mask.mode != "1":
        forms.append(np.asarray(mask))
    for form in forms:
        run.complete(str(image), mask=form)
    assert len(masks_of_calls) == 1 + len(forms)
    for used in masks_of_calls[1:]:
        assert (used == masks_of_calls[0]).all()
    if missing is not None:
        assert (masks_of_calls[0][0] == missing).all()
        run.complete(str(image), mask=missing)
        assert (masks_of_calls[-1] == masks_of_calls[0]).all()


def test_options_of_captions_have_no_part_in_a_mask(tmp_path):
    config = pinxit.VAE(network="mlp", latent_dim=2, width=8, depth=1)
    load = {"captions": "labels", "languages": "fr", "strict": True, "limit": 3}
    run = pinxit.train(config, blobs(16), out=tmp_path / "r", steps=1, quiet=True)
    data = run.config["data"]
    changed = {**data, "options": {**data["options"], **load}}
    run.write("config.json", {**run.config, "data": changed})
    run = pinxit.Run(run.path)
    mask, missing = random_masks(0)["L"]
    mask.save(tmp_path / "mask.png")
    assert (read_mask(run, blobs(2), tmp_path / "mask.png") == missing).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("nowhere.png", "there is no mask file nowhere.png"),
        (Path("nowhere.png"), "there is no mask file nowhere.png"),
        (3, "a mask is a file, an array or an image, not 3"),
        (np.zeros((2, 8, 8), np.uint8), "a mask is one image"),
        (np.zeros((8, 8), np.uint8), "the mask is all black"),
        (np.zeros((8, 8), bool), "the mask is all False"),
        (np.ones((4, 4), bool), "the mask has shape"),
        (blobs(2), "a mask is one image"),
        (__file__, "the mask cannot be read"),
    ],
    ids=repr,
)
def test_what_is_no_mask_is_refused(mask, message, tmp_path):
    run = pinxit.Run(tmp_path)
    run.write(
        "config.json",
        {"format": FORMAT, "family": "vae", "dataset_info": blobs(2).info().to_json(), "data": {}},
    )
    with pytest.raises(UsageError, match=message):
        read_mask(run, blobs(2), mask)
