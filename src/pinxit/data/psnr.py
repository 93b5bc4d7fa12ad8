"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROUNDING_MSE = 1 / 12 / 255**2  # variance of rounding to 8 bits, on a scale of 0 to 1


def psnr(mse: ArrayLike, min_mse: float = ROUNDING_MSE) -> np.ndarray:
    """Return 10 log10(1 / MSE) in dB, of mean squared errors on a scale of 0 to 1.

    Errors below `min_mse` count as `min_mse`; with 0 the PSNR of equal images is infinite.
    """
    with np.errstate(divide="ignore"):
        return -10 * np.log10(np.maximum(mse, min_mse))
