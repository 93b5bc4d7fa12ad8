"""What the families' transformers share: attention and positions against their plain forms."""

from __future__ import annotations

import pytest
import torch

from pinxit.nn.attention import attention
from pinxit.nn.positions import apply_rotary, axial_rotary_cache, rotary_cache


def plainly(q, k, v, mask, causal):
    scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_attention_is_that_of_the_paper_in_either_precision(causal, bf16, training):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 8, requires_grad=training) for _ in range(3))
    mask = None if causal else torch.rand(2, 1, 1, 7) > 0.3
    with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = attention(q, k, v, mask, causal)
    exact = not bf16 or training  # in training in fp32, whatever the layers around it do
    assert found.dtype == (torch.float32 if exact else torch.bfloat16)
    wanted = plainly(q, k, v, mask, causal)
    torch.testing.assert_close(found.float(), wanted, atol=1e-5 if exact else 0.03, rtol=0)
    if training:
        mine = torch.autograd.grad(found.square().sum(), (q, k, v))
        theirs = torch.autograd.grad(wanted.square().sum(), (q, k, v))
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rotation", [rotary_cache(12, 8), axial_rotary_cache(3, 4, 8)])
def test_pairs_are_turned_as_complex_numbers_are(rotation):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 8)
    pairs = torch.complex(x[..., :4], x[..., 4:]) * torch.complex(*rotation)
    wanted = torch.cat((pairs.real, pairs.imag), -1)
    torch.testing.assert_close(apply_rotary(x, rotation), wanted)
