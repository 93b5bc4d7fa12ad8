"""The slide on q(z|x) close to N(0, I): the posteriors over the prior while the model trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup, escape

from pinxit.data.images import evenly_spaced_indices
from pinxit.errors import PinxitError
from pinxit.evaluation.retrain_command import retrain_command
from pinxit.models.protocols import HasELBO
from pinxit.reports.charts import Curve
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.stepper import Frame
from pinxit.training.posterior_snapshots import (
    PosteriorSnapshot,
    has_snapshots,
    read_snapshots,
    save_snapshot,
)

TITLE = "z ~ N(μ(x), Σ(x)), close to N(0, I)"
SIDE = 300.0  # of the drawing
MAX_ELLIPSES = 48  # images whose cloud is drawn; of the others the mean
MIN_RANGE, MAX_RANGE = 2.6, 8.0  # standard deviations of the prior, from the centre to the border
RANGE_QUANTILE = 0.99  # of the means that are within the border
MAX_COLORS = 10
EXTREME_BETAS = (0.001, 30.0)  # clouds are points, or all alike


def posterior_clouds(context: ReportContext) -> Slide | None:
    """Show q(z|x) of some images over the prior's circle, step by step."""
    if not has_snapshots(context.model):
        return None
    try:
        snapshots = align(read_snapshots(context.run))
    except PinxitError as error:
        context.missing.append(f"No posteriors during training: {error}")
        return None
    if len(snapshots) < 2:
        return None
    last, first = snapshots[-1], snapshots[0]
    limit = _choose_range(snapshots)
    frames = [Frame(f"{s.step:,}", _draw_clouds(s, limit), _describe(s)) for s in snapshots]
    values = {
        "frames": frames,
        "count": len(last.mean),
        "num_ellipses": min(MAX_ELLIPSES, len(last.mean)),
        "legend": _make_legend(last, context.run.info.label_names),
        "last": last.step,
        "first_rate": format_number(first.rate, 3),
        "rate": format_number(last.rate, 3),
        "sigma": format_number(_mean_sigma(last), 2),
        "spread": format_number(_spread(last), 2),
        "beta": format_number(float(context.model_options.get("beta", 1.0)), 2),
        "commands": _write_commands(context),
    }
    assert isinstance(context.model, HasELBO)
    places = (locate(save_snapshot), locate(type(context.model).elbo))
    return Slide("posterior_clouds", TITLE, values, places)


def align(snapshots: Sequence[PosteriorSnapshot]) -> list[PosteriorSnapshot]:
    """Turn each snapshot about the origin so that its means are nearest to those of the next one.

    Each is in the plane of its own principal directions, which have no common orientation. The
    rotation, or reflection, is the orthogonal Procrustes solution (Schönemann 1966). N(0, I) looks
    the same in each orientation.
    """
    turned = list(snapshots[-1:])
    for snapshot in reversed(snapshots[:-1]):
        u, _, v = np.linalg.svd(turned[-1].mean.T @ snapshot.mean)
        rotation = u @ v
        mean = snapshot.mean @ rotation.T
        covariance = rotation @ snapshot.covariance @ rotation.T
        turned.append(replace(snapshot, mean=mean, covariance=covariance))
    return turned[::-1]


def _choose_range(snapshots: Sequence[PosteriorSnapshot]) -> float:
    reach = max(float(np.quantile(np.abs(s.mean), RANGE_QUANTILE)) for s in snapshots)
    return float(np.clip(1.15 * reach, MIN_RANGE, MAX_RANGE))


def _mean_sigma(snapshot: PosteriorSnapshot) -> float:
    """Return the root mean variance of the clouds, per direction of the plane."""
    variances = np.trace(snapshot.covariance, axis1=1, axis2=2) / 2
    return float(np.sqrt(variances.mean()))


def _spread(snapshot: PosteriorSnapshot) -> float:
    """Return the root mean square of the means, per direction of the plane."""
    return float(np.sqrt(np.square(snapshot.mean).mean()))


def _describe(snapshot: PosteriorSnapshot) -> str:
    return (
        f"step {snapshot.step:,}: KL {format_number(snapshot.rate, 3)} nats; in this plane the "
        f"means have a size of {format_number(_spread(snapshot), 2)}, the clouds "
        f"{format_number(_mean_sigma(snapshot), 2)}"
    )


# -- the drawing -----------------------------------------------------------------------------------


def _draw_clouds(snapshot: PosteriorSnapshot, limit: float) -> Markup:
    """Draw the prior as circles of 1 and 2 standard deviations, clouds and means."""
    scale, center = SIDE / 2 / limit, SIDE / 2
    xy = center + np.clip(snapshot.mean, -limit, limit) * scale * (1, -1)
    parts = [
        f'<path class="prior" d="{_ellipse(center, center, r * scale, r * scale, 0.0)}"/>'
        for r in (1, 2)
    ]
    shown = evenly_spaced_indices(len(xy), MAX_ELLIPSES)
    for color in sorted({_color(label) for label in snapshot.label.tolist()}):
        members = np.flatnonzero([_color(label) == color for label in snapshot.label.tolist()])
        clouds = "".join(
            _draw_cloud(xy[i], snapshot.covariance[i], scale)
            for i in np.intersect1d(shown, members)
        )
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in xy[members])
        parts.append(f'<path class="cloud s{color}" d="{clouds}"/>' if clouds else "")
        parts.append(f'<path class="point s{color}" d="{dots}"/>')
    label = escape(f"Posteriors of {len(xy)} images over the prior, step {snapshot.step}")
    clip = f'<svg width="{SIDE:.0f}" height="{SIDE:.0f}" x="0">{"".join(parts)}</svg>'
    return Markup(
        f'<svg class="chart" viewBox="0 0 {SIDE:.0f} {SIDE:.0f}" role="img" '
        f'aria-label="{label}">{clip}</svg>'
    )


def _draw_cloud(center: np.ndarray, covariance: np.ndarray, scale: float) -> str:
    """Return the path of the ellipse of one standard deviation."""
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    radii = scale * np.sqrt(np.clip(values, 0.0, None))
    x, y = vectors[:, 1]
    angle = float(np.degrees(np.arctan2(-y, x)))  # y grows downward
    return _ellipse(center[0], center[1], float(radii[1]), float(radii[0]), angle)


def _ellipse(x: float, y: float, a: float, b: float, angle: float) -> str:
    """Return the path of an ellipse with semi-axes a and b, turned by an angle in degrees."""
    a, b = max(a, 0.1), max(b, 0.1)
    dx, dy = a * np.cos(np.radians(angle)), a * np.sin(np.radians(angle))
    turn = f"{a:.1f} {b:.1f} {angle:.0f} 1 0"
    return (
        f"M{x - dx:.1f} {y - dy:.1f}a{turn} {2 * dx:.1f} {2 * dy:.1f}"
        f"a{turn} {-2 * dx:.1f} {-2 * dy:.1f}"
    )


def _color(label: int) -> int:
    """Return the color of a label; those without one, or of a late one, have the last."""
    return label if 0 <= label < MAX_COLORS else MAX_COLORS - 1


def _make_legend(snapshot: PosteriorSnapshot, names: Sequence[str]) -> list[Curve]:
    labels = sorted({label for label in snapshot.label.tolist() if 0 <= label < len(names)})
    return [Curve(names[int(label)], [], [], label) for label in labels if label < MAX_COLORS]


def _write_commands(context: ReportContext) -> list[str]:
    """Return the commands that train the run anew with almost no KL, and with too much."""
    if "beta" not in context.model_options:
        return []
    return [retrain_command(context.run, {"beta": b}, f"beta-{b:g}") for b in EXTREME_BETAS]
