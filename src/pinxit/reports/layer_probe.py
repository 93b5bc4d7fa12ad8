"""What the layers of a model know of the labels."""

from __future__ import annotations

from pinxit.reports import charts
from pinxit.reports.charts import Line
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.sections import Section


def layered(material: Material) -> Section | None:
    """The linear probe's accuracy after each layer (Chen 2020, fig. 2), where it was measured."""
    layers = (material.evaluation.get("curves") or {}).get("probe_by_layer")
    if not layers:
        return None
    best = max(range(len(layers)), key=layers.__getitem__)
    curve = Line("linear probe", list(range(len(layers))), list(layers), 0)
    values = {
        "chart": charts.lines(
            [curve],
            label=f"Linear probe's accuracy by layer, best after layer {best}",
            x_title="layers passed",
            y_title="share right",
        ),
        "best": best,
        "count": len(layers) - 1,
        "accuracy": number(100 * layers[best], 3),
        "last": number(100 * layers[-1], 3),
        "objective": getattr(material.model.config, "objective", ""),
    }
    return Section("layered", "What its layers know", values)
