"""The decoder of a run, executed in the page: sliders of z, and what is decoded from it.

The page holds the decoder as ONNX, and ONNX Runtime Web (MIT License), which runs it: it needs no
server and no other host. Without a script the page shows the image at which the sliders start.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from pinxit.models.protocols import CanEncode, HasELBO
from pinxit.nn.principal_components import fit_principal_components
from pinxit.reports.context import ReportContext
from pinxit.reports.images import InlineImage, inline_image, is_small
from pinxit.reports.sections import MAX_THUMBNAIL_SIDE, Section, shrink_images
from pinxit.sampling.inputs import is_label_conditional
from pinxit.sampling.latents import TRAVERSAL_RANGE

TITLE = "Decode in this page: move z"
MAX_SLIDERS = 8
PLANE_SIDE = 13  # decoded images along a side
RUNTIME = Path(__file__).parent / "runtime"
RUNTIME_FILES = {"script": "ort.wasm.bundle.min.mjs.gz", "wasm": "ort-wasm-simd-threaded.wasm.gz"}


@dataclass(frozen=True)
class Sliders:
    """z = base + moves^T values; a value goes from -3 to 3."""

    base: Float32[np.ndarray, " latent"]
    moves: Float32[np.ndarray, "slider latent"]
    names: tuple[str, ...]
    start: Float32[np.ndarray, " slider"]
    are_latents: bool  # all of them: a random z is one of the prior

    @property
    def is_plane(self) -> bool:
        """Whether they are the two latents of a plane."""
        return self.are_latents and len(self.names) == 2

    def z(self) -> Float32[np.ndarray, "one latent"]:
        """Return the z at which the sliders start."""
        return (self.base + self.start @ self.moves)[None].astype(np.float32)


def live_decoder(context: ReportContext) -> Section | None:
    """Show sliders of z over the decoder, for a live report."""
    model = context.model
    if not context.live or not isinstance(model, CanEncode):
        return None
    sliders = choose_sliders(context)
    if sliders is None:
        context.missing.append("The decoder is not in the page: its sliders need the run's data.")
        return None
    labels = list(context.run.info.label_names) if is_label_conditional(model) else []
    first = np.zeros(1, np.int64) if labels else None
    image = model.decode(sliders.z(), first).pixels[0]
    values = {
        "image": inline_image(image, "The image decoded where the sliders start", is_small(image)),
        "labels": labels,
        "sliders": list(zip(sliders.names, sliders.start.tolist(), strict=True)),
        "are_latents": sliders.are_latents,
        "plane": _decode_plane(model) if sliders.is_plane and not labels else None,
        "limit": TRAVERSAL_RANGE,
        "data": _page_data(context, sliders),
        "files": {
            name: base64.b64encode((RUNTIME / file).read_bytes()).decode()
            for name, file in RUNTIME_FILES.items()
        },
        "decoder": base64.b64encode(gzip.compress(_export_decoder(context), 9, mtime=0)).decode(),
    }
    return Section("live_decoder", TITLE, values)


def _decode_plane(model: CanEncode) -> InlineImage:
    """Decode a grid of the plane, without gaps, as the background of the pointer.

    Not of a label-conditional model: the plane would stay that of one label.
    """
    half = TRAVERSAL_RANGE * (1 - 1 / PLANE_SIDE)  # the centres of the cells
    ticks = np.linspace(-half, half, PLANE_SIDE)
    x, y = np.meshgrid(ticks, ticks[::-1])
    z = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    cells = shrink_images(model.decode(z), MAX_THUMBNAIL_SIDE)
    h, w, c = cells.shape[1:]
    rows = cells.reshape(PLANE_SIDE, PLANE_SIDE, h, w, c).transpose(0, 2, 1, 3, 4)
    sheet = rows.reshape(PLANE_SIDE * h, PLANE_SIDE * w, c)
    return inline_image(sheet, "Images decoded from a grid of z0 and z1", is_small(cells[0]))


def _export_decoder(context: ReportContext) -> bytes:
    """Return the decoder as ONNX, compared with the original."""
    from pinxit.onnx_export.api import export_bytes

    return export_bytes(context.run, context.model, "decoder", context.images)


def choose_sliders(context: ReportContext) -> Sliders | None:
    """Return a slider for each latent of N(0, I), or for the principal directions of many.

    None if these directions are needed, and there are no images to measure them on.
    """
    model: Any = context.model
    size, is_grid = model.latent_dim, len(model.latent_shape) > 1
    learned = isinstance(model, HasELBO) and getattr(model, "prior_is_learned", False)
    if size <= MAX_SLIDERS and not is_grid and not learned:
        base, eye = np.zeros(size, np.float32), np.eye(size, dtype=np.float32)
        names = tuple(f"z{i}" for i in range(size))
        return Sliders(base, eye, names, np.zeros(size, np.float32), are_latents=True)
    if context.posterior is None or len(context.posterior.mean) < 2:
        return None
    means = torch.from_numpy(context.posterior.mean)
    count = min(MAX_SLIDERS, len(means) - 1, means.shape[1])
    found = fit_principal_components(means, count)
    deviations = found.project(means).std(0, keepdim=True).T
    names = tuple(f"direction {i}" for i in range(count))
    moves = (found.directions * deviations).numpy()
    return Sliders(found.mean.numpy(), moves, names, np.zeros(count, np.float32), are_latents=False)


def _page_data(context: ReportContext, sliders: Sliders) -> dict[str, Any]:
    model: Any = context.model
    return {
        "base": [float(f"{value:.7g}") for value in sliders.base.tolist()],
        "moves": [[float(f"{v:.7g}") for v in row] for row in sliders.moves.tolist()],
        "shape": list(model.latent_shape),
        "limit": TRAVERSAL_RANGE,
    }
