"""Top-k keeps exactly k tokens, also where several are equally likely."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.nn.token_sampling import SamplingParams


@given(st.lists(st.sampled_from([-2.0, 0.0, 0.5, 3.0]), min_size=1, max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_top_k_keeps_k_tokens_and_the_first_of_equal_ones(logits, data):
    k = data.draw(st.integers(1, len(logits)))
    kept = SamplingParams(top_k=k).compute_filtered_weights(torch.tensor(logits)) > 0
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    assert kept.nonzero()[:, 0].tolist() == sorted(order[:k])


def test_without_ties_top_k_is_the_threshold_of_the_kth_logit():
    logits = torch.randn(7, 5, 40, generator=torch.Generator().manual_seed(0))
    masked = logits.masked_fill(logits < logits.topk(6, -1).values[..., -1:], -torch.inf)
    weights = SamplingParams(top_k=6).compute_filtered_weights(logits)
    assert torch.equal(weights, masked.softmax(-1))
