"""The section with power spectra: how much fine detail reconstructions and samples have."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.reports.charts import Curve, draw_line_chart
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.sections import Section

KINDS = {"reconstructions": 0, "samples": 1}  # kind of image -> color of its curve
DATA_COLOR = 9
MAX_RATIO = 2.0  # larger ratios leave the chart
X_TITLE = "frequency (1: highest)"


def spectrum(context: ReportContext) -> Section | None:
    """Radial power spectra of the data, of reconstructions and of samples."""
    if "spectrum_data" not in context.spectra:
        return None
    ratios = _build_ratio_curves(context.spectra)
    if not ratios:
        return None
    powers = _build_power_curves(context.spectra, ratios)
    values = {
        "sharpness": {kind: format_number(v, 2) for kind, v in context.sharpness.items()},
        "power_chart": draw_line_chart(
            powers,
            label="Power by spatial frequency: " + ", ".join(curve.name for curve in powers),
            x_title=X_TITLE,
            y_title="power",
            log_y=True,
        ),
        "power_curves": powers,
        "ratio_chart": _draw_ratio_chart(ratios),
        "ratio_curves": ratios,
    }
    return Section("spectrum", "Power spectrum", values)


def _build_ratio_curves(spectra: dict[str, Any]) -> list[Curve]:
    """Power relative to the data; frequencies relative to the highest, half a cycle per pixel."""
    x = 2 * np.asarray(spectra["frequencies"])
    positive = x > 0
    return [
        Curve(kind, x[positive].tolist(), np.asarray(values)[positive].tolist(), color)
        for kind, color in KINDS.items()
        if (values := spectra.get(f"spectrum_{kind}")) is not None
    ]


def _build_power_curves(spectra: dict[str, Any], ratios: list[Curve]) -> list[Curve]:
    data = np.asarray(spectra["spectrum_data"])[np.asarray(spectra["frequencies"]) > 0]
    curves = [Curve("data", ratios[0].x, data.tolist(), DATA_COLOR, dashed=True)]
    for ratio in ratios:
        power = (np.asarray(ratio.y) * data).tolist()
        curves.append(Curve(ratio.name, ratio.x, power, ratio.color))
    return curves


def _draw_ratio_chart(ratios: list[Curve]) -> str:
    x = ratios[0].x
    data = Curve("data", [min(x), max(x)], [1, 1], DATA_COLOR, dashed=True)
    top = max(1.1, *(min(MAX_RATIO, max(ratio.y)) * 1.05 for ratio in ratios))
    return draw_line_chart(
        [data, *ratios],
        label="Power relative to the data: " + ", ".join(ratio.name for ratio in ratios),
        x_title=X_TITLE,
        y_title="power / power of the data",
        y_range=(0.0, top),
    )
