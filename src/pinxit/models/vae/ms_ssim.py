"""Multi-scale structural similarity (Wang 2003), differentiable and for images of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales (Wang 2003)
WINDOW, WINDOW_STD = 11, 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2  # for values from 0 to 1
MIN_SIMILARITY = 1e-4  # of a scale, before its power: the gradient stays finite

Images = Float[Tensor, "batch channel height width"]


def ms_ssim(x: Images, y: Images) -> Float[Tensor, " batch"]:
    """Return prod_s c_s^w_s, with luminance at the coarsest scale, of each pair of images.

    Five scales need 176 pixels a side. Smaller images have fewer, whose weights are scaled to sum
    to 1; below 11 pixels the window is smaller.
    """
    side = min(x.shape[-2:])
    num_scales = max(n for n in range(1, len(WEIGHTS) + 1) if n == 1 or side >> (n - 1) >= WINDOW)
    weights = [w / sum(WEIGHTS[:num_scales]) for w in WEIGHTS[:num_scales]]
    result = x.new_ones(len(x))
    for scale, weight in enumerate(weights):
        luminance, contrast = _similarity(x, y)
        is_last = scale == num_scales - 1
        similarity = (luminance * contrast if is_last else contrast).mean((1, 2, 3))
        result = result * similarity.clamp(min=MIN_SIMILARITY) ** weight
        if not is_last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return result


def _similarity(x: Images, y: Images) -> tuple[Tensor, Tensor]:
    """Return luminance, and contrast structure, where the window fits (Wang 2004)."""
    channels, size = x.shape[1], min(WINDOW, *x.shape[-2:])
    offsets = torch.arange(size, device=x.device, dtype=x.dtype) - (size - 1) / 2
    window = (-0.5 * (offsets / WINDOW_STD).square()).softmax(0)
    rows = window.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = window.view(1, 1, 1, -1).expand(channels, 1, 1, -1)

    def blur(values: Images) -> Images:
        return F.conv2d(F.conv2d(values, rows, groups=channels), columns, groups=channels)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (var_x + var_y + C2)
