"""The order of a stream's training images: a function of seed and epoch alone.

In each epoch the shards are permuted and cut into windows of some shards, and the images of a
window are shuffled. So each image comes once an epoch, in the same batch however many processes
there are, and any step is found without the ones before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

MAX_WINDOWS_KEPT = 4  # permutations in memory


@dataclass(frozen=True)
class Window:
    """Some shards of an epoch, and the order of their images."""

    epoch: int
    number: int  # in the epoch
    shards: Int64[np.ndarray, " k"]
    ends: Int64[np.ndarray, " k"]  # of each shard's images among those of the window
    order: Int64[np.ndarray, " n"]  # shuffled numbers of the images

    def __len__(self) -> int:
        return len(self.order)

    def locate(self, place: int) -> tuple[int, int]:
        """Return the shard of the image at a place, and its number among the shard's images."""
        number = int(self.order[place])
        k = int(np.searchsorted(self.ends, number, side="right"))
        return int(self.shards[k]), number - (int(self.ends[k - 1]) if k else 0)


@dataclass
class StreamOrder:
    """The order of images of which shard k has `counts[k]`."""

    counts: Int64[np.ndarray, " shards"]
    window: int  # shards
    seed: int
    _epochs: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _windows: dict[tuple[int, int], Window] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Images of an epoch."""
        return int(self.counts.sum())

    def find(self, position: int) -> tuple[Window, int]:
        """Return the window of a position, which counts from the first epoch on, and the place."""
        epoch, offset = divmod(position, self.total)
        _, ends = self._epoch(epoch)
        number = int(np.searchsorted(ends, offset, side="right"))
        start = int(ends[number - 1]) if number else 0
        return self._window(epoch, number), offset - start

    def following(self, window: Window) -> Window:
        """Return the window after another one, of the next epoch after the last."""
        _, ends = self._epoch(window.epoch)
        if window.number + 1 < len(ends):
            return self._window(window.epoch, window.number + 1)
        return self._window(window.epoch + 1, 0)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the shards in the order of an epoch, and where each window ends."""
        if epoch not in self._epochs:
            shards = np.flatnonzero(self.counts)
            shards = shards[np.random.default_rng([self.seed, epoch]).permutation(len(shards))]
            ends = np.cumsum(self.counts[shards])
            last = np.minimum(np.arange(self.window, len(shards) + self.window, self.window),
                              len(shards)) - 1  # fmt: skip
            _make_room(self._epochs, 2)[epoch] = shards, ends[last]
        return self._epochs[epoch]

    def _window(self, epoch: int, number: int) -> Window:
        key = epoch, number
        if key not in self._windows:
            shards, _ = self._epoch(epoch)
            own = shards[number * self.window : (number + 1) * self.window]
            ends = np.cumsum(self.counts[own])
            random = np.random.default_rng([self.seed, epoch, number + 1])
            window = Window(epoch, number, own, ends, random.permutation(int(ends[-1])))
            _make_room(self._windows, MAX_WINDOWS_KEPT)[key] = window
        return self._windows[key]


def _make_room(entries: dict, size: int) -> dict:
    """Return a dict after its oldest entries were removed, with room for one more."""
    while len(entries) >= size:
        del entries[next(iter(entries))]
    return entries
