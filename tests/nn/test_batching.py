"""Batches of a fixed size: what a function gets does not depend on the other images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.nn.batching import map_in_fixed_batches


@given(n=st.integers(1, 13), channels=st.sampled_from([1, 3]), size=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_batches_have_one_shape_and_one_layout(n, channels, size):
    """Images as models get them: rows of pixels, whose channels are then put first."""
    x = torch.rand(n, 4, 5, channels).permute(0, 3, 1, 2)
    layouts = set()

    def record(batch):
        layouts.add((batch.shape, batch.stride()))
        return batch

    (result,) = map_in_fixed_batches(record, x, batch_size=size)
    assert torch.equal(result, x)
    assert layouts == {((size, channels, 4, 5), (20 * channels, 20, 5, 1))}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolution_of_an_image_is_the_same_in_every_batch(channels):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(channels, 16, 3)
    x = torch.rand(64, 8, 8, channels).permute(0, 3, 1, 2)
    with torch.no_grad():
        (whole,) = map_in_fixed_batches(conv, x)
        for n in (1, 4, 63):
            assert torch.equal(map_in_fixed_batches(conv, x[:n])[0], whole[:n])
