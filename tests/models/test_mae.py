"""The masked autoencoder: masking, patches, and the same network in transformers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.batch import DatasetInfo
from pinxit.data.masks import random_patch_mask
from pinxit.errors import UnusedOptionError, UsageError
from pinxit.evaluation.inpainting import fill_with_mean, masked_mse
from pinxit.models import build_model
from pinxit.models.mae import build
from pinxit.models.mae.config import Config
from pinxit.nn.masking import inverse_order, mask_order, num_visible
from pinxit.nn.pixels import gather_tokens, patchify, unpatchify
from pinxit.nn.positions import sincos_2d_pos_embed
from tests.builders import blobs

KINDS = ("random", "block", "grid")
TINY = {
    "width": 16,
    "depth": 2,
    "heads": 2,
    "decoder_width": 8,
    "decoder_heads": 2,
    "patch_size": 2,
}
CPU = torch.device("cpu")


def tiny(info: DatasetInfo | None = None, **options):
    torch.manual_seed(0)
    return build(Config(**{**TINY, **options}), info or blobs().info()).eval()


sides = st.integers(1, 6)


@given(rows=sides, columns=sides, patch_size=st.integers(1, 5), channels=st.sampled_from([1, 3]))
def test_unpatchify_inverts_patchify_for_all_sizes(rows, columns, patch_size, channels):
    random = torch.Generator().manual_seed(rows * columns)
    shape = (3, rows * patch_size, columns * patch_size, channels)
    pixels = torch.randint(256, shape, generator=random).to(torch.uint8)
    patches = patchify(pixels, patch_size)
    assert patches.shape == (3, rows * columns, patch_size * patch_size * channels)
    assert torch.equal(unpatchify(patches, rows, patch_size), pixels)
    assert torch.equal(
        patches[1, columns - 1], pixels[1, :patch_size, (columns - 1) * patch_size :].flatten()
    )


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rows=st.integers(1, 9),
    columns=st.integers(2, 9),
    ratio=st.floats(0.01, 0.99),
)
def test_mask_has_exactly_the_stated_number_of_visible_patches(kind, rows, columns, ratio):
    patches = rows * columns
    count = num_visible(patches, ratio)
    assert count == min(max(1, round((1 - ratio) * patches)), patches - 1)
    order = mask_order(kind, 5, rows, columns, CPU)
    assert torch.equal(order.sort(1).values, torch.arange(patches).expand(5, -1))
    visible = order[:, :count]
    assert all(len(set(row)) == count for row in visible.tolist())
    content = torch.arange(5 * patches).view(5, patches, 1)
    assert torch.equal(gather_tokens(gather_tokens(content, order), inverse_order(order)), content)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_differ_between_images(kind):
    order = mask_order(kind, 64, 8, 8, CPU)[:, :16].sort(1).values
    assert len({tuple(row) for row in order.tolist()}) > 3


def test_grid_mask_of_75_percent_shows_every_second_patch_of_every_second_row():
    visible = mask_order("grid", 20, 8, 8, CPU)[:, :16]
    for rows, columns in zip((visible // 8).tolist(), (visible % 8).tolist(), strict=True):
        assert len({r % 2 for r in rows}) == len({c % 2 for c in columns}) == 1


def test_grid_mask_of_50_percent_is_a_checkerboard():
    visible = mask_order("grid", 20, 8, 8, CPU)[:, :32]
    for rows, columns in zip((visible // 8).tolist(), (visible % 8).tolist(), strict=True):
        assert len({(r + c) % 2 for r, c in zip(rows, columns, strict=True)}) == 1


def test_block_masks_are_contiguous():
    def equal_to_row_above(kind: str) -> float:
        masked = torch.ones(200, 144, dtype=torch.bool)
        masked.scatter_(1, mask_order(kind, 200, 12, 12, CPU)[:, :72], False)
        masked = masked.view(-1, 12, 12)
        return float((masked[:, 1:] == masked[:, :-1]).float().mean())

    assert equal_to_row_above("random") < 0.6
    assert equal_to_row_above("block") > 0.8


def test_pos_embed_is_sines_and_cosines_of_column_and_row():
    expected = torch.zeros(6, 8)
    for row in range(2):
        for column in range(3):
            for i, position in enumerate((column, row)):
                for k in range(2):
                    angle = torch.tensor(position / 10_000 ** (k / 2))
                    expected[3 * row + column, 4 * i + k] = angle.sin()
                    expected[3 * row + column, 4 * i + 2 + k] = angle.cos()
    assert torch.allclose(sincos_2d_pos_embed(2, 3, 8), expected, atol=1e-6)


def test_pos_embed_matches_transformers():
    peer = pytest.importorskip("transformers.models.vit_mae.modeling_vit_mae")
    if not hasattr(peer, "build_2d_sinusoidal_position_embedding"):
        pytest.skip("this version of transformers has no build_2d_sinusoidal_position_embedding")
    theirs = peer.build_2d_sinusoidal_position_embedding(5, 5, 16)
    theirs = torch.cat((theirs[:, 8:], theirs[:, :8]), 1)  # columns first, as in its models
    assert torch.allclose(sincos_2d_pos_embed(5, 5, 16), theirs, atol=1e-6)


@pytest.mark.parametrize("norm_pix_loss", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_network_matches_transformers(norm_pix_loss, channels):
    peers = pytest.importorskip("benchmarks.peer_transformers")
    pytest.importorskip("transformers")
    info = DatasetInfo(96, 8, 8, channels, mean=0.0, std=1.0)
    model = tiny(info, norm_pix_loss=norm_pix_loss)
    with torch.no_grad():  # fresh weights have gains of 1 and no biases
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    peer = peers.to_vit_mae(model).eval()
    pixels = torch.from_numpy(blobs(5, channels=channels).pixels.copy())
    noise = torch.rand(5, 16)
    order, x = noise.argsort(1), pixels.permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        theirs = peer(pixel_values=x, noise=noise)
        latent = peer.vit(pixel_values=x, noise=noise).last_hidden_state
        patches = patchify(pixels, 2)
        visible = order[:, :4]
        tokens = model.encode(model.normalize(gather_tokens(patches, visible)), visible)
        predicted = model.decode(tokens, order)
        loss = model.loss_for_order(patches, order).total
    assert torch.allclose(tokens, latent, atol=1e-5)
    assert torch.allclose(predicted, theirs.logits, atol=1e-5)
    assert torch.allclose(loss, theirs.loss, atol=1e-5)


@pytest.mark.parametrize("norm_pix_loss", [False, True])
@torch.no_grad()
def test_loss_matches_a_loop_over_masked_patches(norm_pix_loss):
    model = tiny(norm_pix_loss=norm_pix_loss)
    patches = patchify(torch.from_numpy(blobs(4).pixels.copy()), 2)
    order = mask_order("random", 4, 4, 4, CPU)
    predicted = model.decode(
        model.encode(model.normalize(gather_tokens(patches, order[:, :4])), order[:, :4]),
        order,
    )
    errors = []
    for i in range(4):
        for patch in order[i, 4:].tolist():
            target = patches[i, patch].double() / 255
            prediction = predicted[i, patch].double()
            if norm_pix_loss:
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            else:
                prediction = prediction * model.std + model.mean
            errors += ((target - prediction) ** 2).tolist()
    loss = model.loss_for_order(patches, order)
    assert loss.total.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_masked_only_decoding_equals_full_decoding():
    model = tiny()
    patches = patchify(torch.from_numpy(blobs(4).pixels.copy()), 2)
    order = mask_order("random", 4, 4, 4, CPU)
    visible, masked = order[:, :4], order[:, 4:]
    tokens = model.encode(model.normalize(gather_tokens(patches, visible)), visible)
    full = gather_tokens(model.decode(tokens, order), masked)
    assert torch.allclose(model.decode(tokens, order, masked_only=True), full, atol=1e-6)


def test_encoder_does_not_see_masked_patches():
    model = tiny()
    patches = torch.randn(2, 16, 4, requires_grad=True)
    order = mask_order("random", 2, 4, 4, CPU)
    visible, masked = order[:, :4], order[:, 4:]
    model.decode(model.encode(gather_tokens(patches, visible), visible), order).sum().backward()
    assert gather_tokens(patches.grad, masked).abs().max() == 0
    assert gather_tokens(patches.grad, visible).abs().min() > 0


def test_features_are_differentiable_and_average_to_the_embedding():
    model, images = tiny(), blobs(3)
    x = torch.from_numpy(images.pixels.copy()).permute(0, 3, 1, 2).float() / 255
    x.requires_grad_(True)
    tokens = model.features(x)
    assert tokens.shape == (3, 16, 16)
    tokens.square().sum().backward()
    assert x.grad.abs().sum() > 0
    mean = tokens.mean(1).detach().numpy()
    assert np.allclose(model.embed(images), mean, atol=1e-6)
    assert not np.allclose(model.embed(images, layer=1), mean, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (6, 10, 1), (12, 4, 3)])
def test_images_of_every_shape_are_completed(height, width, channels):
    images = blobs(6, height, width, channels)
    model = tiny(images.info())
    mask = random_patch_mask(images, 0.5, 2)
    completed = model.complete(images, mask)
    assert np.array_equal(completed.pixels[~mask], images.pixels[~mask])


def test_completion_does_not_depend_on_the_seed():
    model, images = tiny(), blobs(4)
    mask = random_patch_mask(images, 0.75, 2)
    completed = [model.complete(images, mask, seed=seed) for seed in (0, 5)]
    assert np.array_equal(completed[0].pixels, completed[1].pixels)
    for option in ({"temperature": 0.5}, {"start": 3}):
        with pytest.raises(UnusedOptionError, match="it uses seed"):
            model.complete(images, mask, **option)


def test_unmasked_image_depends_on_seed_and_index_only():
    model = tiny()
    pixels = model.unmask(5, seed=3, steps=4).pixels
    assert np.array_equal(pixels[:2], model.unmask(2, seed=3, steps=4).pixels)
    assert not np.array_equal(pixels[0], pixels[1])
    with pytest.raises(UsageError, match="1 or more"):
        model.unmask(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "masking",
    [pytest.param(k, marks=() if k == "random" else pytest.mark.long) for k in KINDS],
)
def test_training_beats_filling_with_the_mean(masking):
    images = blobs(1200)
    config = Config(masking=masking, mask_ratio=0.5, width=48, depth=2, decoder_width=32)
    model = build_model(config, images, np.arange(600))[0].train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    torch.manual_seed(0)
    for step in range(400):
        optimizer.zero_grad()
        rows = np.arange(600)[step % 10 :: 10]
        model.loss(images.batch(rows)).total.backward()
        optimizer.step()
    model.eval()
    test = images.split("test")
    mask = random_patch_mask(test, 0.5, 2)
    completed = model.complete(test, mask).pixels
    error, baseline = (masked_mse(test, p, mask) for p in (completed, fill_with_mean(test, mask)))
    assert error.value < 0.6 * baseline.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 3}, "does not divide images of 8 x 8 into patches; these do: 1, 2, 4"),
        ({"patch_size": 8}, "these do: 1, 2, 4"),
        ({"mask_ratio": 0.0}, "between 0 and 1"),
        ({"mask_ratio": 1.0}, "between 0 and 1"),
        ({"mask_ratio": 1.2}, "between 0 and 1"),
        ({"width": 10}, "multiple of 4"),
        ({"width": 16, "heads": 3}, "heads 3 does not divide width 16"),
        ({"decoder_depth": 0}, "at least 1"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options).resolve(blobs().info())


def test_images_of_another_size_are_rejected():
    with pytest.raises(UsageError, match="takes images of 8x8x1"):
        tiny().embed(blobs(2, 6, 6))


@pytest.mark.parametrize(
    ("size", "patch_size"),
    [((8, 8), 2), ((28, 28), 4), ((32, 32), 4), ((64, 64), 8), ((7, 5), 1), ((9, 6), 3)],
)
def test_patch_size_is_chosen_from_the_image_size(size, patch_size):
    info = dataclasses.replace(blobs().info(), height=size[0], width=size[1])
    assert Config().resolve(info).patch_size == patch_size
