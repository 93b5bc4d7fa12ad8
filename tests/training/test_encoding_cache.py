"""The cache of encodings against encoding every batch anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pinxit
from pinxit.data.images import Images
from pinxit.models import build_model
from pinxit.training import encoding_cache
from pinxit.training.augmentation import apply_amounts
from pinxit.training.encoding_cache import Drawn, EncodingCache, count_views, create_cache
from pinxit.training.settings import TrainingSettings

KINDS = ("move", "color")


def noise_images(n: int) -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8), source="n", fingerprint="n")


def encode(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float().mean(3).unsqueeze(1)


def make(images: Images, rows: np.ndarray, kinds=KINDS, seed: int = 3) -> EncodingCache:
    return EncodingCache(encode, images, rows, kinds, seed, torch.device("cpu"))


def draw(rng: np.random.Generator, rows: np.ndarray, images: Images, epochs: int):
    drawn = Drawn(rng.integers(0, len(rows), 10), rng.integers(0, epochs, 10))
    return images.batch(rows[drawn.indices]), drawn


@pytest.mark.parametrize("n", [1, 15, 16, 50])
def test_encodings_are_those_of_the_images_as_they_were_changed(n):
    images = noise_images(n + 3)
    rows = np.random.default_rng(1).permutation(n + 3)[:n]
    cache, rng = make(images, rows), np.random.default_rng(2)
    changed = 0
    for _ in range(20):
        batch, drawn = draw(rng, rows, images, 100)
        encoded = cache.encode(batch, drawn)
        assert encoded.augmentation is not None
        expected = encode(apply_amounts(batch.pixels, encoded.augmentation))
        assert torch.equal(encoded.encoding, expected)
        changed += int((encoded.augmentation != 0).any(1).sum())
    assert 100 < changed < 195, "in a view an image may be as it is"


def test_a_new_cache_gives_the_same_in_another_order():
    images = noise_images(40)
    rows = np.arange(40)
    first, again = make(images, rows), make(images, rows)
    batches = [draw(np.random.default_rng(k), rows, images, 50) for k in range(6)]
    encoded = [first.encode(*one) for one in batches]
    for (batch, drawn), one in reversed(list(zip(batches, encoded, strict=True))):
        other = again.encode(batch, drawn)
        assert torch.equal(other.encoding, one.encoding)
        assert torch.equal(other.augmentation, one.augmentation)
    other = make(images, rows, seed=4).encode(*batches[0])
    assert not torch.equal(other.augmentation, encoded[0].augmentation)


def test_each_view_is_encoded_once_and_epochs_differ():
    images, calls = noise_images(30), []

    def count(pixels):
        calls.append(len(pixels))
        return encode(pixels)

    cache = EncodingCache(count, images, np.arange(30), KINDS, 0, torch.device("cpu"))
    calls.clear()
    batch = images.batch(np.arange(30))
    views = [
        cache.encode(batch, Drawn(np.arange(30), np.full(30, epoch))).encoding
        for epoch in range(2 * cache.num_views)
    ]
    assert sum(calls) == 30 * cache.num_views
    assert not torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[cache.num_views])


def test_many_views_of_few_images_and_none_that_do_not_fit(monkeypatch):
    assert [count_views(n) for n in (1, 241, 3_000, 9_999)] == [32, 32, 8, 4]
    images = noise_images(50)
    assert make(images, np.arange(50), kinds=()).num_views == 1
    monkeypatch.setattr(encoding_cache, "MAX_BYTES", 3 * 50 * 64 * 4)
    assert make(images, np.arange(50)).num_views == 3
    monkeypatch.setattr(encoding_cache, "MAX_BYTES", 100)
    assert make(images, np.arange(50)).num_views == 0


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    images = Images(np.tile(noise_images(40).pixels, (1, 2, 2, 1)), source="n", fingerprint="n")
    out = tmp_path_factory.mktemp("cache") / "vae"
    vae = pinxit.VAE(latents="grid", width=8, depth=1)
    run = pinxit.train(vae, images, out=out, steps=3, batch_size=8, quiet=True)
    config = pinxit.Flow(vae=str(run.path), width=16, depth=1, heads=1)
    model = build_model(config, images, np.arange(40), component=pinxit.load(run.path))[0]
    return model.train(), images


def test_a_flows_loss_is_the_same_with_the_cache(flow):
    model, images = flow
    settings = TrainingSettings(augment="off", seed=1)
    cache = create_cache(model, images, np.arange(40), settings, torch.device("cpu"))
    assert cache is not None
    batch, drawn = draw(np.random.default_rng(0), np.arange(40), images, 3)
    losses = []
    for one in (batch, cache.encode(batch, drawn)):
        torch.manual_seed(5)
        losses.append(model.loss(one).total.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_models_without_a_frozen_encoder_have_no_cache(flow, monkeypatch):
    model, images = flow
    settings = TrainingSettings(augment="off")
    device, rows = torch.device("cpu"), np.arange(8)
    assert create_cache(torch.nn.Linear(2, 2), images, rows, settings, device) is None
    tiny = build_model(pinxit.Flow(width=16, depth=1, heads=1), noise_images(9), rows)[0]
    assert create_cache(tiny, noise_images(9), rows, settings, device) is None
    pairs = Images(images.pixels, before=images.pixels)
    assert create_cache(model, pairs, rows, settings, device) is None
    monkeypatch.setattr(encoding_cache, "MAX_BYTES", 10)
    assert create_cache(model, images, rows, settings, device) is None
