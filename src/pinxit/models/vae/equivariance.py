"""Latents that turn, flip and shrink as their image does (EQ-VAE, Kouzelis 2025, arXiv 2502.09509).

For a transform T, decoder(T z) is compared with T x: a grid of latents that is changed as an image
can be changed is simpler to model. Flips, rotations by 90 degrees and halving, as the sizes allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pinxit.nn.batch_share import common_randint

Maps = Float[Tensor, "batch channel height width"]


class Transform(NamedTuple):
    """A change of latents and of images alike."""

    apply: Callable[[Maps], Maps]
    area: float = 1.0  # of the result, as a share


def list_transforms(latents: tuple[int, ...], image: tuple[int, int]) -> list[Transform]:
    """Return the transforms for latents `(channel, row, column)` of images of (height, width)."""
    _, rows, columns = latents
    transforms = [Transform(lambda h: h.flip(3)), Transform(lambda h: h.flip(2))]
    if rows == columns and image[0] == image[1]:
        transforms += [Transform(lambda h, k=k: h.rot90(k, (2, 3))) for k in (1, 2, 3)]
    is_whole = all(side % n == 0 for side, n in zip(image, (rows, columns), strict=True))
    if rows % 2 == 0 and columns % 2 == 0 and is_whole:
        # as often as all rotations: it matters most
        transforms += 3 * [Transform(lambda h: F.avg_pool2d(h, 2), 1 / 4)]
    return transforms


def sample_transform(transforms: list[Transform]) -> Transform:
    """Return one of them, each as likely as the others."""
    return transforms[int(common_randint(len(transforms)))]
