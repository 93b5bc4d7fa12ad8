"""Vectors of numbers as small bar charts."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape

MAX_BARS = 32
BAR, GAP, HEIGHT = 6.0, 2.0, 64.0  # units of the drawing


def draw_vector(
    values: Float[np.ndarray, " n"],
    label: str,
    limit: float,
    *,
    color: int = 0,
    signed: bool = True,
) -> Markup:
    """Draw a bar for each of the first values, from 0 up or down; `limit` is at the border."""
    values = values[:MAX_BARS]
    zero = HEIGHT / 2 if signed else HEIGHT - 2
    scale = (zero - 2) / max(limit, 1e-9)
    width = len(values) * (BAR + GAP) + GAP
    bars = "".join(
        f"M{GAP + i * (BAR + GAP):.1f} {zero:.1f}v{-scale * np.clip(value, -limit, limit):.1f}"
        f"h{BAR:.1f}V{zero:.1f}z"
        for i, value in enumerate(values.tolist())
    )
    return Markup(
        f'<svg class="chart vector" viewBox="0 0 {width:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(label)}"><path class="bar s{color}" d="{bars}"/>'
        f'<path class="axis" d="M0 {zero:.1f}H{width:.0f}"/></svg>'
    )
