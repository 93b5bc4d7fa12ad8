"""Pixels, patches and tokens: inverses, and the order of patches."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pinxit.nn.pixels import gather_tokens, patchify, to_float, to_uint8, unpatchify

SIDES = st.integers(1, 4)


@given(rows=SIDES, columns=SIDES, patch_size=SIDES, channels=st.sampled_from([1, 3]))
def test_unpatchify_inverts_patchify(rows, columns, patch_size, channels):
    shape = (2, rows * patch_size, columns * patch_size, channels)
    pixels = torch.randint(256, shape, dtype=torch.uint8)
    patches = patchify(pixels, patch_size)
    assert patches.shape == (2, rows * columns, patch_size**2 * channels)
    assert torch.equal(unpatchify(patches, rows, patch_size), pixels)


def test_patches_are_in_raster_order():
    pixels = torch.arange(24).reshape(1, 4, 6, 1)
    assert patchify(pixels, 2)[0, 1].tolist() == [2, 3, 8, 9]
    assert patchify(pixels, 2)[0, 3].tolist() == [12, 13, 18, 19]


def test_floats_return_to_the_same_pixels_and_are_clamped():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)
    assert to_uint8(torch.tensor([-0.5, 1.5]).reshape(1, 1, 1, 2)).flatten().tolist() == [0, 255]


def test_gather_tokens_takes_them_in_the_given_order():
    tokens = torch.arange(12.0).reshape(1, 4, 3)
    assert torch.equal(gather_tokens(tokens, torch.tensor([[2, 0]])), tokens[:, [2, 0]])
