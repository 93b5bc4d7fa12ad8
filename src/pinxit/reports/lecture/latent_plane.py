"""The latent plane of a run with two latents, decoded under the pointer."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from pinxit.models.protocols import CanEncode, HasELBO
from pinxit.reports.context import ReportContext
from pinxit.reports.images import encode_png_uri, is_small
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.sections import MAX_THUMBNAIL_SIDE, shrink_images
from pinxit.sampling.inputs import is_label_conditional
from pinxit.sampling.prior_noise import from_noise

TITLE = "All of p(z): the plane of two latents, decoded under the pointer"
SIDE = 15  # decoded images along a side
RANGE = 2.8  # standard deviations of the prior, to each side
CELL, LENS, GAP = 20, 150, 20  # units of the drawing


def latent_plane(context: ReportContext) -> Slide | None:
    """Decode a grid of z; a cell that is pointed at is shown enlarged, with its z."""
    model = context.model
    if not isinstance(model, CanEncode) or not isinstance(model, HasELBO):
        return None
    if model.latent_dim != 2 or is_label_conditional(model):
        return None
    ticks = np.linspace(-RANGE, RANGE, SIDE)
    x, y = np.meshgrid(ticks, ticks[::-1])
    noise = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    z = from_noise(model, noise)
    pixels = shrink_images(model.decode(z), MAX_THUMBNAIL_SIDE)
    values = {"plane": _draw_plane(pixels, z), "range": f"{RANGE:g}", "count": SIDE**2}
    return Slide("latent_plane", TITLE, values, (locate(type(model).decode),))


def _draw_plane(pixels: np.ndarray, z: np.ndarray) -> Markup:
    """Draw the images as one, and for each cell a lens that CSS shows while it is pointed at."""
    h, w, c = pixels.shape[1:]
    sheet = pixels.reshape(SIDE, SIDE, h, w, c).transpose(0, 2, 1, 3, 4)
    sheet = np.ascontiguousarray(sheet.reshape(SIDE * h, SIDE * w, c))
    size, height = SIDE * CELL, SIDE * CELL * h / w
    style = ' style="image-rendering: pixelated"' if is_small(pixels[0]) else ""
    image = (
        f'<image id="plane-of-z" href="{encode_png_uri(sheet)}" width="{size}" '
        f'height="{height:.0f}" preserveAspectRatio="none"{style}/>'
    )
    cells = [_draw_cell(i, height / SIDE, z[i]) for i in range(SIDE**2)]
    width = size + GAP + LENS
    return Markup(
        f'<svg class="chart plane" viewBox="0 0 {width} {height:.0f}" role="img" '
        f'aria-label="Images decoded from a grid of z">{image}{"".join(cells)}</svg>'
    )


def _draw_cell(index: int, cell_height: float, z: np.ndarray) -> str:
    row, column = divmod(index, SIDE)
    left, top = column * CELL, row * cell_height
    lens_left, lens_height = SIDE * CELL + GAP, LENS * cell_height / CELL
    values = ", ".join(f"{value:.2f}" for value in z.tolist()).replace("-", "−")
    first = " first" if index == SIDE**2 // 2 else ""
    box = f'x="{left}" y="{top:.1f}" width="{CELL}" height="{cell_height:.1f}"'
    return (
        f'<g class="cell{first}"><rect {box}/><g class="lens">'
        f'<svg x="{lens_left}" y="0" width="{LENS}" height="{lens_height:.1f}" '
        f'viewBox="{left} {top:.1f} {CELL} {cell_height:.1f}"><use href="#plane-of-z"/></svg>'
        f'<text x="{lens_left}" y="{lens_height + 18:.0f}">z = ({values})</text></g></g>'
    )
