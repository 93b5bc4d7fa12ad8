"""Augmentation: slightly changed training images, so that few images are not learned by heart.

    flip    left and right exchanged, where the images themselves do not distinguish them
    move    shifted by up to a sixteenth of a side, sometimes scaled by a few percent; what comes
            into view continues the border
    color   brightness and contrast changed by a few percent
    turn    upside down, and rows exchanged with columns where images are square
    channels  red, green and blue exchanged

A generator is given the amounts (Karras 2022, app. F.2): at 0 it generates images as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import permutations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from pinxit.data.batch import Batch
from pinxit.nn.batch_share import batch_rand, batch_randint

KINDS = ("flip", "move", "color", "turn", "channels")

AUGMENT_PROBABILITY = 0.5  # of each kind of change
MAX_SHIFT = 1 / 16  # of a side
SCALE_PROBABILITY = 0.25  # whole pixels are exact, scaling blurs a little
MAX_LOG_SCALE = 0.08
MAX_BRIGHTNESS, MAX_LOG_CONTRAST = 0.05, 0.1

ORDERS = tuple(permutations(range(3)))  # of channels; the first one changes nothing

Pixels = UInt8[Tensor, "batch height width channel"]
Amounts = Float[Tensor, "batch amounts"]


def augment_batch(
    batch: Batch, kinds: Sequence[str], probability: float = AUGMENT_PROBABILITY
) -> Batch:
    """Return the batch with each kind of change applied to an image with this probability.

    An image before its edit changes as the edited one. The amounts are in `augmentation`.
    """
    if not kinds:
        return batch
    amounts = sample_amounts(len(batch), kinds, probability, batch.pixels)
    before = None if batch.before is None else apply_amounts(batch.before, amounts)
    pixels = apply_amounts(batch.pixels, amounts)
    return dataclasses.replace(batch, pixels=pixels, before=before, augmentation=amounts)


def sample_amounts(n: int, kinds: Sequence[str], probability: float, pixels: Pixels) -> Amounts:
    """Sample the amounts of n images; 0 is no change, and a shift is whole pixels."""
    device = pixels.device
    sides = torch.tensor([pixels.shape[2], pixels.shape[1]], device=device)
    is_changed = {kind: batch_rand(n, device=device) < probability for kind in KINDS}
    flip = (batch_rand(n, device=device) < 0.5).float()
    shift = (_uniform(n, 2, device=device) * MAX_SHIFT * sides).round() / sides
    scale = _uniform(n, 1, device=device) * MAX_LOG_SCALE
    scale = torch.where(batch_rand(n, 1, device=device) < SCALE_PROBABILITY, scale, 0.0)
    color = _uniform(n, 2, device=device) * torch.tensor(
        [MAX_BRIGHTNESS, MAX_LOG_CONTRAST], device=device
    )
    turn = (batch_rand(n, 2, device=device) < 0.5).float()
    if pixels.shape[1] != pixels.shape[2]:
        turn[:, 1] = 0
    order = F.one_hot(batch_randint(0, len(ORDERS), n, device=device), len(ORDERS))[:, 1:]
    if pixels.shape[3] != 3:
        order.zero_()
    parts = {
        "flip": flip[:, None],
        "move": torch.cat([shift, scale], 1),
        "color": color,
        "turn": turn,
        "channels": order.float(),
    }
    kept = [parts[kind] * is_changed[kind][:, None] * (kind in kinds) for kind in KINDS]
    return torch.cat(kept, 1)


def apply_amounts(pixels: Pixels, amounts: Amounts) -> Pixels:
    """Change images by these amounts; images whose amounts are 0 are returned as they are."""
    x = pixels.permute(0, 3, 1, 2).float()
    x = _move(x, amounts[:, 0] > 0.5, amounts[:, 1:3], amounts[:, 3])
    x = _recolor(x, amounts[:, 4], amounts[:, 5])
    x = _turn(x, amounts[:, 6] > 0.5, amounts[:, 7] > 0.5)
    x = _exchange_channels(x, amounts[:, 8:])
    return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _move(x: Tensor, flip: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
    """Flip, scale about the centre and shift by fractions of the sides."""
    if not bool((flip | (shift != 0).any(1) | (log_scale != 0)).any()):
        return x
    inverse = (-log_scale).exp()
    matrix = torch.zeros(len(x), 2, 3, device=x.device)
    matrix[:, 0, 0] = torch.where(flip, -inverse, inverse)
    matrix[:, 1, 1] = inverse
    matrix[:, :, 2] = -2 * shift * torch.stack([matrix[:, 0, 0], inverse], 1)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _recolor(x: Tensor, brightness: Tensor, log_contrast: Tensor) -> Tensor:
    """Scale values about each image's mean, and add to them."""
    mean = x.mean((1, 2, 3), keepdim=True)
    contrast, brightness = (v.view(-1, 1, 1, 1) for v in (log_contrast.exp(), brightness))
    return mean + contrast * (x - mean) + 255 * brightness


def _turn(x: Tensor, is_upside_down: Tensor, is_transposed: Tensor) -> Tensor:
    x = torch.where(is_upside_down.view(-1, 1, 1, 1), x.flip(2), x)
    if not bool(is_transposed.any()):
        return x
    return torch.where(is_transposed.view(-1, 1, 1, 1), x.transpose(2, 3), x)


def _exchange_channels(x: Tensor, one_hot: Tensor) -> Tensor:
    if not bool(one_hot.any()):
        return x
    chosen = (one_hot * torch.arange(1, len(ORDERS), device=x.device)).sum(1).long()
    order = torch.tensor(ORDERS, device=x.device)[chosen]
    return x.gather(1, order[:, :, None, None].expand_as(x))


def _uniform(n: int, columns: int, device: torch.device) -> Tensor:
    return 2 * batch_rand(n, columns, device=device) - 1
