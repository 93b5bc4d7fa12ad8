"""Top-k keeps exactly k tokens, also where several are equally likely."""

from __future__ import annotations

import math

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


logit_rows = st.lists(st.floats(-4, 4), min_size=2, max_size=9)


@given(logit_rows, st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_temperature_divides_the_logits(logits, temperature):
    weights = SamplingParams(temperature).compute_filtered_weights(torch.tensor(logits))
    powers = [math.exp(logit / temperature) for logit in logits]
    expected = torch.tensor([power / sum(powers) for power in powers])
    assert torch.allclose(weights, expected, atol=1e-5)


@given(logit_rows, st.sampled_from([0.2, 0.5, 0.9]))
def test_top_p_keeps_the_fewest_most_likely_tokens_that_reach_p(logits, p):
    probs = torch.tensor(logits).softmax(0)
    weights = SamplingParams(top_p=p).compute_filtered_weights(torch.tensor(logits))
    kept = weights > 0
    assert torch.equal(weights[kept], probs[kept])
    assert float(probs[kept].sum()) >= p - 1e-5
    assert float(probs[kept].sum() - probs[kept].min()) < p + 1e-5, "the last one is needed"
    assert kept.all() or float(probs[kept].min()) >= float(probs[~kept].max())


def test_top_p_that_is_reached_exactly_keeps_no_further_token():
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    kept = SamplingParams(top_p=0.75).compute_filtered_weights(logits) > 0
    assert kept.tolist() == [True, True, False, False]


@given(
    st.lists(st.integers(-10_000, 10_000) | st.just(-math.inf), min_size=1, max_size=6),
    st.floats(0, 1, exclude_min=True) | st.sampled_from([1e-40, 1e-310, 1e300]),
    st.sampled_from([None, 2]),
    st.sampled_from([None, 0.5]),
    st.floats(0, 1, exclude_max=True, width=32),
)
def test_any_temperature_samples_a_token_that_is_possible(logits, temperature, top_k, top_p, u):
    logits = torch.tensor([0.0, *logits])
    params = SamplingParams(temperature, top_k, top_p)
    weights = params.compute_filtered_weights(logits)
    assert weights.isfinite().all()
    assert weights.sum() > 0
    assert logits[params.sample(logits, torch.tensor(u))].isfinite()
    if temperature < 1e-38:
        assert weights[logits.argmax()] > 0
        assert (weights[logits < logits.max()] == 0).all()
