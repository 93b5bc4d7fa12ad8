"""The order of a stream: each image once an epoch, whatever the shards, from any position."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.streams.order import StreamOrder

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any)


def visit(order: StreamOrder, positions) -> list[tuple[int, int]]:
    return [window.locate(place) for window, place in map(order.find, positions)]


@settings(deadline=None)
@given(COUNTS, st.integers(1, 14), st.integers(0, 3), st.integers(0, 2))
def test_each_image_comes_once_an_epoch(counts, window, seed, epoch):
    order = StreamOrder(np.array(counts), window, seed)
    positions = range(epoch * order.total, (epoch + 1) * order.total)
    images = [(k, i) for k, count in enumerate(counts) for i in range(count)]
    assert sorted(visit(order, positions)) == images


@settings(deadline=None)
@given(COUNTS, st.integers(1, 14), st.lists(st.integers(0, 200), min_size=1, max_size=20))
def test_a_position_has_one_image_whatever_was_read_before(counts, window, positions):
    order = StreamOrder(np.array(counts), window, 0)
    alone = [visit(StreamOrder(np.array(counts), window, 0), [p])[0] for p in positions]
    assert visit(order, positions) == alone


def test_images_are_shuffled_within_a_window_only():
    order = StreamOrder(np.full(12, 50), 3, 0)
    shards = [shard for shard, _ in visit(order, range(order.total))]
    for start in range(0, order.total, 150):
        assert len(set(shards[start : start + 150])) == 3
    assert len(set(shards[:20])) == 3
    assert shards != [shard for shard, _ in visit(order, range(order.total, 2 * order.total))]
    other = StreamOrder(np.full(12, 50), 3, 1)
    assert shards != [shard for shard, _ in visit(other, range(order.total))]


@given(COUNTS, st.integers(1, 14))
def test_windows_follow_one_another_through_all_epochs(counts, window):
    order = StreamOrder(np.array(counts), window, 0)
    current, size = order.find(0)[0], 0
    for _ in range(8):
        assert order.find(size) == (current, 0)
        size += len(current)
        current = order.following(current)
