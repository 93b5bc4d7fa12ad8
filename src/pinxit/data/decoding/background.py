"""The background that transparent pixels show: one for all images of a set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pinxit.data.decoding.conversion import BACKGROUNDS, RGB

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from PIL.Image import Image

VISIBLE_LEVELS = 32  # by which a color must differ from the background to be seen
VISIBLE_SHARE = 0.05  # of the opaque pixels that must be seen
TOLERATED_SHARE = 0.01  # of the images that may be invisible before another background is chosen


def composite(image: Image, background: RGB) -> Image:
    """Return an RGBA image on a background, as RGB."""
    from PIL import Image as Pillow

    ground = Pillow.new("RGBA", image.size, (*background, 255))
    return Pillow.alpha_composite(ground, image).convert("RGB")


def find_hidden(pixels: UInt8[np.ndarray, "height width 4"]) -> dict[str, bool]:
    """Return, by name of a background, whether an RGBA image cannot be seen on it.

    An image without opaque pixels is seen on none, whatever the background, and counts for none.
    """
    alpha = pixels[..., 3]
    colors = pixels[alpha > 127, :3] if (alpha > 127).any() else pixels[alpha > 0, :3]
    if not len(colors) or (alpha == 255).all():
        return dict.fromkeys(BACKGROUNDS, False)
    difference = {
        name: np.abs(colors.astype(np.int16) - np.array(color, np.int16)).max(-1)
        for name, color in BACKGROUNDS.items()
    }
    return {
        name: bool((levels > VISIBLE_LEVELS).mean() < VISIBLE_SHARE)
        for name, levels in difference.items()
    }


def choose_background(num_hidden: dict[str, int], num_images: int) -> RGB:
    """Return the background on which the fewest images are hidden; white if nearly none is.

    `num_hidden` counts them by name of the background, in order of preference.
    """
    fewest = min(num_hidden.values())
    tolerated = fewest + TOLERATED_SHARE * num_images
    return BACKGROUNDS[next(name for name, n in num_hidden.items() if n <= tolerated)]
