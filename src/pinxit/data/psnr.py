"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROUNDING_MSE = 1 / 12 / 255**2  # variance of rounding to 8 bits, on a scale of 0 to 1


def psnr(mse: ArrayLike) -> np.ndarray:
    """Return 10 log10(1 / MSE) in dB, of mean squared errors on a scale of 0 to 1.

    Errors below that of rounding count as that: equal images have 58.9 dB.
    """
    return -10 * np.log10(np.maximum(mse, ROUNDING_MSE))
