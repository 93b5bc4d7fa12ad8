"""Attention and rotary positions against their definitions; `attend_from` against `forward`."""

from __future__ import annotations

import pytest
import torch

from pinxit.nn.attention import (
    FEW_KEYS,
    LARGE_HEAD,
    MAX_KEYS,
    Attention,
    KVCache,
    attention,
)
from pinxit.nn.positions import apply_rotary, axial_rotary_cache, rotary_cache
from pinxit.nn.transformer import Block


def reference_attention(q, k, v, mask, causal):
    logits = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
    if causal:
        logits = logits.masked_fill(~torch.ones(logits.shape[-2:]).tril().bool(), -torch.inf)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return logits.softmax(-1) @ v


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_attention_equals_its_definition_in_both_precisions(causal, bf16, training):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 8, requires_grad=training) for _ in range(3))
    mask = None if causal else torch.rand(2, 1, 1, 7) > 0.3
    with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = attention(q, k, v, mask, causal)
    exact = not bf16 or training  # inputs in fp32 are trained in fp32, whatever is around them
    assert output.dtype == (torch.float32 if exact else torch.bfloat16)
    expected = reference_attention(q, k, v, mask, causal)
    torch.testing.assert_close(output.float(), expected, atol=1e-5 if exact else 0.03, rtol=0)
    if training:
        grads = torch.autograd.grad(output.square().sum(), (q, k, v))
        expected_grads = torch.autograd.grad(expected.square().sum(), (q, k, v))
        for grad, expected_grad in zip(grads, expected_grads, strict=True):
            torch.testing.assert_close(grad, expected_grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("num_keys", "head_dim", "by_products"),
    [
        (FEW_KEYS, 8, True),
        (FEW_KEYS + 1, 8, False),
        (200, LARGE_HEAD, True),
        (MAX_KEYS + 1, 64, False),
    ],
)
def test_training_in_bf16_attends_by_products_where_they_are_faster(
    num_keys, head_dim, by_products
):
    torch.manual_seed(0)
    shape = 2, 2, num_keys, head_dim
    inputs = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(*inputs)
        masked = attention(*inputs, mask=torch.ones(2, 1, 1, num_keys, dtype=torch.bool))
    assert output.dtype == (torch.bfloat16 if by_products else torch.float32)
    assert masked.dtype == torch.float32
    expected = reference_attention(*(x.float() for x in inputs), None, False)
    torch.testing.assert_close(output.float(), expected, atol=0.03, rtol=0.03)
    grads = torch.autograd.grad(output.float().square().sum(), inputs)
    expected_grads = torch.autograd.grad(expected.square().sum(), inputs)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        error = (grad.float() - expected_grad.float()).norm() / expected_grad.float().norm()
        assert error < 0.03


@torch.inference_mode()
@pytest.mark.parametrize("start", [0, 3, 6])
def test_attend_from_returns_the_last_positions_of_forward(start):
    torch.manual_seed(0)
    layer, block, h = Attention(16, 2), Block(16, 2), torch.randn(2, 7, 16)
    torch.testing.assert_close(layer.attend_from(h, start), layer(h)[:, start:])
    torch.testing.assert_close(block.forward_from(h, start), block(h)[:, start:])


def test_attend_from_takes_no_mask_rotary_or_cache():
    layer, h = Attention(16, 2), torch.randn(2, 7, 16)
    for name in ("causal", "rotary", "cache", "key_mask"):
        with pytest.raises(TypeError, match=name):
            layer.attend_from(h, 3, **{name: None})


@pytest.mark.parametrize("rotary", [rotary_cache(12, 8), axial_rotary_cache(3, 4, 8)])
def test_rotary_rotates_pairs_like_complex_numbers(rotary):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 8)
    pairs = torch.complex(x[..., :4], x[..., 4:]) * torch.complex(*rotary)
    expected = torch.cat((pairs.real, pairs.imag), -1)
    torch.testing.assert_close(apply_rotary(x, rotary), expected)


@pytest.mark.parametrize("prefill", [0, 1, 4, 6])
def test_causal_attention_with_a_cache_is_that_without(prefill):
    """The first `prefill` positions at once, then one at a time; each sees those before it only."""
    torch.manual_seed(0)
    layer, h = Attention(16, 2).eval(), torch.randn(3, 6, 16)
    cache = KVCache.empty(3, 2, 6, 8, h)
    with torch.no_grad():
        expected = layer(h, causal=True)
        parts = [layer(h[:, :prefill], causal=True, cache=cache)] if prefill else []
        parts += [
            layer(h[:, i : i + 1], causal=True, cache=cache, start_pos=i) for i in range(prefill, 6)
        ]
    assert torch.allclose(torch.cat(parts, 1), expected, atol=1e-5)
