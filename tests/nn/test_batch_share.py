"""The numbers of a batch do not depend on how it is divided."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinxit.nn.batch_share import (
    BatchShare,
    batch_rand,
    batch_randint,
    batch_randn,
    batch_randperm,
    common_randint,
    common_randn,
    count_first,
    count_last,
    row_numbers,
    share_batch,
    whole_size,
)

SIZES = st.integers(1, 40)
COUNTS = st.integers(1, 7)
SEEDS = st.integers(0, 2**62)

DRAWS = {
    "rand": lambda n: batch_rand(n, 3),
    "randn": lambda n: batch_randn(n, 2, 2),
    "randint": lambda n: batch_randint(5, 1000, n),
    "randperm": batch_randperm,
    "rows": row_numbers,
}


def draw(share: BatchShare) -> dict[str, torch.Tensor]:
    with share_batch(share):
        n = share.num_rows
        numbers = {name: make(n) for name, make in DRAWS.items()}
        first, last = count_first(0.3, n), count_last(0.25, n)
        numbers["first"] = torch.arange(n) < first
        numbers["last"] = torch.arange(n) >= n - last
        return {**numbers, "shared": common_randn((4,)), "choice": common_randint(10**9)}


@given(size=SIZES, count=COUNTS, seed=SEEDS)
def test_parts_together_have_the_numbers_of_the_whole_batch(size, count, seed):
    whole = draw(BatchShare(0, 1, size, seed))
    for index in range(count):
        share = BatchShare(index, count, size, seed)
        part = draw(share)
        for name in (*DRAWS, "first", "last"):
            assert torch.equal(part[name], whole[name][share.rows]), name
        assert torch.equal(part["shared"], whole["shared"])
        assert torch.equal(part["choice"], whole["choice"])
    assert torch.equal(whole["randperm"].sort()[0], torch.arange(size))
    assert whole["first"].sum() == round(0.3 * size)
    assert whole["last"].sum() == round(0.25 * size)


@given(size=SIZES, world_size=st.integers(1, 4), accumulate=st.integers(1, 3))
def test_each_process_ends_with_one_last_part(size, world_size, accumulate):
    count = world_size * accumulate
    shares = [BatchShare(i, count, size, 0, world_size) for i in range(count)]
    assert [share.is_last for share in shares] == [i >= count - world_size for i in range(count)]
    assert sum(share.num_rows for share in shares) == size


@given(seed=SEEDS)
def test_two_batches_have_different_numbers(seed):
    first, second = (draw(BatchShare(0, 2, 8, s)) for s in (seed, seed + 1))
    assert not torch.equal(first["rand"], second["rand"])


def test_outside_a_division_the_numbers_are_those_of_pytorch():
    torch.manual_seed(3)
    expected = torch.rand(4, 2), torch.randint(2, 9, (4,))
    torch.manual_seed(3)
    assert torch.equal(batch_rand(4, 2), expected[0])
    assert torch.equal(batch_randint(2, 9, 4), expected[1])
    assert (whole_size(4), count_first(0.5, 4), count_last(0.25, 4)) == (4, 2, 1)


def test_numbers_of_other_rows_than_those_of_the_share_are_refused():
    with share_batch(BatchShare(1, 2, 9, 0)), pytest.raises(ValueError, match="5 rows are not"):
        batch_rand(5)


def test_the_division_ends_with_its_context():
    with pytest.raises(KeyError), share_batch(BatchShare(1, 2, 8, 0)):
        raise KeyError
    assert whole_size(3) == 3
