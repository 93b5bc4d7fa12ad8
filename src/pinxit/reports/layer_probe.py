"""The section with the accuracy of a linear probe on each layer's features."""

from __future__ import annotations

from collections.abc import Mapping

from pinxit.models.protocols import CanComplete
from pinxit.reports.charts import Curve, draw_line_chart
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.sections import Section


def layer_probe(context: ReportContext) -> Section | None:
    """Linear probe accuracy after each layer (Chen 2020, fig. 2), if it was evaluated."""
    accuracies = context.curves.get("probe_by_layer")
    if not accuracies:
        return None
    model = context.model
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    curve = Curve("linear probe", list(range(len(accuracies))), list(accuracies), 0)
    values = {
        "chart": draw_line_chart(
            [curve],
            label=f"Linear probe accuracy by layer, highest after layer {best}",
            x_title="layer",
            y_title="accuracy",
        ),
        "best_layer": best,
        "num_layers": len(accuracies) - 1,
        "best_accuracy": format_number(100 * accuracies[best], 3),
        "last_accuracy": format_number(100 * accuracies[-1], 3),
        "test_accuracy": _format_test_accuracy(context.metrics),
        "autoregressive": isinstance(model, CanComplete) and model.left_to_right,
    }
    return Section("layer_probe", "Linear probe by layer", values)


def _format_test_accuracy(metrics: Mapping[str, float]) -> str:
    """Return `94.9 ± 0.2`, in percent; empty if it was not evaluated."""
    accuracy, error = (metrics.get(f"probe_accuracy{end}") for end in ("", "_error"))
    if accuracy is None:
        return ""
    text = format_number(100 * accuracy, 3)
    return text if error is None else f"{text} ± {format_number(100 * error, 1)}"
