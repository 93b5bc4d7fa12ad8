"""Seeds of the random draws that belong to an image: its binarization, its latents.

They are functions of (seed, name of the image) only. Every metric and every family thus sees the
same binarized test set, and the estimate of an image does not depend on the other images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from hashlib import blake2b

import torch
from jaxtyping import Float
from torch import Tensor

from pinxit.data.images import Images
from pinxit.nn.rng import mix_seed


class Draw(IntEnum):
    """What is drawn; each has its own random numbers."""

    OBSERVATION = 0  # binarization or dequantization
    ELBO = 1  # z of the ELBO
    IMPORTANCE = 2  # z of the importance samples
    LABEL = 3
    AGGREGATE = 4  # z of the aggregated posterior


def image_seeds(images: Images, seed: int, draw: Draw) -> list[int]:
    """Return a seed for each image, from (seed, draw, name).

    Images without names are identified by their pixels.
    """
    stream = mix_seed(seed, draw)
    return [mix_seed(stream, _hash(key)) for key in _keys(images)]


def _keys(images: Images) -> Iterator[bytes]:
    if len(images.names):
        return (name.encode("utf-8", "surrogatepass") for name in images.names)
    return (pixels.tobytes() for pixels in images.pixels)


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


def draw_uniforms(shape: Sequence[int], seeds: Sequence[int]) -> Float[Tensor, "batch ..."]:
    """Uniform numbers of [0, 1), on the CPU; those of row i depend on its own seed only."""
    uniforms = torch.empty(*shape)
    generator = torch.Generator()
    for row, image_seed in zip(uniforms, seeds, strict=True):
        row.uniform_(generator=generator.manual_seed(image_seed))
    return uniforms
