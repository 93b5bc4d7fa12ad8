"""How much fine detail there is, at each spatial frequency."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.reports import charts
from pinxit.reports.charts import Line
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.sections import Section

KINDS = {"reconstructions": 0, "samples": 1}


def sharp(material: Material) -> Section | None:
    """Radial power spectra of the data, of reconstructions and of samples."""
    spectra = material.spectra
    if "spectrum_data" not in spectra:
        return None
    at = 2 * np.asarray(spectra["frequencies"])  # as a share of the finest, half a cycle a pixel
    data = np.asarray(spectra["spectrum_data"])
    keep = at > 0
    ratios = [
        Line(kind, at[keep].tolist(), np.asarray(spectra[f"spectrum_{kind}"])[keep].tolist(), style)
        for kind, style in KINDS.items()
        if f"spectrum_{kind}" in spectra
    ]
    if not ratios:
        return None
    powers = [Line("data", at[keep].tolist(), data[keep].tolist(), 9, dashed=True)] + [
        Line(ratio.name, ratio.x, (np.asarray(ratio.y) * data[keep]).tolist(), ratio.style)
        for ratio in ratios
    ]
    said = [f"{kind} have {number(value, 2)}" for kind, value in material.detail.items()]
    even = Line("the data", [float(at[keep].min()), float(at.max())], [1, 1], 9, dashed=True)
    top = max(1.1, *(min(2.0, max(ratio.y)) * 1.05 for ratio in ratios))
    values: dict[str, Any] = {
        "figures": " and ".join(said),
        "power": charts.lines(
            powers,
            label="Power over spatial frequency of " + ", ".join(p.name for p in powers),
            x_title="frequency, 1 is the finest",
            y_title="power",
            log_y=True,
        ),
        "power_curves": powers,
        "ratio": charts.lines(
            [even, *ratios],
            label="Power over the data’s: " + ", ".join(said),
            x_title="frequency, 1 is the finest",
            y_title="share of the data’s power",
            y_range=(0.0, top),
        ),
        "ratio_curves": ratios,
    }
    return Section("sharp", "How sharp it is", values)
