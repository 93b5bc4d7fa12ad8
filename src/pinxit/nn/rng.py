"""Seeds and noise per image: image i depends on its own seed only, not on the batch it is in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.data.batch import Seed
from pinxit.errors import UsageError


def mix_seed(seed: int, number: int) -> int:
    """One 63-bit seed from two numbers by splitmix64's finaliser: near pairs end far apart."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1


def per_image_seeds(seed: Seed, n: int, start: int = 0) -> Sequence[int]:
    """A seed for each of `n` images: mixed from (seed, start + i), or as they are given.

    Raises UsageError for as many seeds as there are not images.
    """
    if isinstance(seed, int):
        return [mix_seed(seed, start + i) for i in range(n)]
    if len(seed) != n:
        raise UsageError(f"there are {n} images and {len(seed)} seeds.")
    return seed


def per_image_normal(
    n: int, shape: tuple[int, ...], seed: Seed, start: int = 0
) -> Float[Tensor, "n ..."]:
    """Standard normal noise with a generator for each image: row i is a function of its seed."""
    generator = torch.Generator()
    rows = torch.empty(n, *shape)
    for i, one in enumerate(per_image_seeds(seed, n, start)):
        generator.manual_seed(one)
        rows[i].normal_(generator=generator)
    return rows


def per_image_uniform(
    n: int, tokens: int, seed: Seed, start: int = 0
) -> Float[Tensor, "n two tokens"]:
    """Numbers from 0 to 1 with a generator for each image: row i is a function of its seed."""
    generator = torch.Generator()
    rows = torch.empty(n, 2, tokens)
    for i, one in enumerate(per_image_seeds(seed, n, start)):
        generator.manual_seed(one)
        rows[i].uniform_(generator=generator)
    return rows
