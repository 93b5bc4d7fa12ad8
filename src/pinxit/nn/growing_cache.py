"""A key/value cache that grows by concatenation: its tensors are inputs and outputs of a step."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, cat, stack

from pinxit.nn.attention import KVCache

Caches = Float[Tensor, "layers batch heads past head_dim"]


class GrowingCache(KVCache):
    """Keys and values of the positions so far; `append` makes new tensors."""

    def append(self, start_pos: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all positions, these included."""
        self.keys, self.values = cat((self.keys, keys), 2), cat((self.values, values), 2)
        return self.keys, self.values


def split_caches(keys: Caches, values: Caches) -> list[GrowingCache]:
    """Return a cache for each layer."""
    return [GrowingCache(*pair) for pair in zip(keys.unbind(0), values.unbind(0), strict=True)]


def stack_caches(caches: list[GrowingCache]) -> tuple[Caches, Caches]:
    """Return the keys and the values of all layers."""
    return stack([cache.keys for cache in caches]), stack([cache.values for cache in caches])
