"""Fields between two conditions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinxit.models.flow.morphing import blend_fields


@given(weight=st.floats(0, 1))
def test_a_blended_field_is_the_weighted_mean_of_both(weight):
    x, t = torch.linspace(-2, 2, 8).view(2, 4), torch.tensor([0.25, 0.75])
    first, second = torch.full_like(x, 3.0), 2 * x

    def evaluate_first(x, t):
        return first

    def evaluate_second(x, t):
        return 2 * x

    blended = blend_fields(evaluate_first, evaluate_second, weight)(x, t)
    torch.testing.assert_close(blended, torch.lerp(first, second, weight), atol=1e-5, rtol=0)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_the_ends_one_field_is_evaluated(weight):
    calls = []
    fields = [lambda x, t, name=name: calls.append(name) for name in ("first", "second")]
    blend_fields(*fields, weight)(torch.zeros(1, 2), torch.zeros(1))
    assert calls == ["second" if weight else "first"]
