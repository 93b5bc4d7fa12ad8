"""Seeds and noise per image: image i depends on its own seed only, not on the batch it is in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.data.batch import Seed
from pinxit.errors import UsageError


def mix_seed(seed: int, number: int) -> int:
    """Mix two numbers into a 63-bit seed with splitmix64's finalizer: near pairs end far apart."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1


def per_image_seeds(seed: Seed, n: int, start: int = 0) -> Sequence[int]:
    """Return one seed for each of `n` images: mixed from (seed, start + i), or the given sequence.

    Raises UsageError if a sequence does not have `n` seeds.
    """
    if isinstance(seed, int):
        return [mix_seed(seed, start + i) for i in range(n)]
    if len(seed) != n:
        raise UsageError(f"{n} images need {n} seeds, not {len(seed)}.")
    return seed


def per_image_normal(
    n: int, shape: tuple[int, ...], seed: Seed, start: int = 0
) -> Float[Tensor, "n ..."]:
    """Standard normal noise; row i depends on its own seed only."""
    generator = torch.Generator()
    noise = torch.empty(n, *shape)
    for i, image_seed in enumerate(per_image_seeds(seed, n, start)):
        generator.manual_seed(image_seed)
        noise[i].normal_(generator=generator)
    return noise


def per_image_uniform(
    n: int, tokens: int, seed: Seed, start: int = 0
) -> Float[Tensor, "n two tokens"]:
    """Two uniform numbers from 0 to 1 per token; row i depends on its own seed only."""
    generator = torch.Generator()
    uniforms = torch.empty(n, 2, tokens)
    for i, image_seed in enumerate(per_image_seeds(seed, n, start)):
        generator.manual_seed(image_seed)
        uniforms[i].uniform_(generator=generator)
    return uniforms
