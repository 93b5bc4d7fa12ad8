"""The sections on the latent space: traversals, a map, and the KL of each latent."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from jaxtyping import Float

from pinxit.data.images import Images
from pinxit.models.levels import level_shapes
from pinxit.models.protocols import CanEmbed, CanEncode
from pinxit.nn.principal_components import PrincipalComponents, fit_principal_components
from pinxit.reports.charts import (
    PointGroup,
    Points,
    draw_bar_chart,
    draw_dot_plot,
    draw_scatter_plot,
)
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import InlineImage, inline_grid
from pinxit.reports.sections import (
    MAX_THUMBNAIL_SIDE,
    Section,
    is_shrunk,
    shrink_images,
)
from pinxit.sampling.inputs import is_label_conditional
from pinxit.sampling.latents import ACTIVE_UNIT_VARIANCE, LatentActivity, traverse
from pinxit.sampling.prior_noise import from_noise

MAX_LATENTS, NUM_STEPS = 8, 13  # of the traversals: from -3 to 3 in steps of 0.5
NUM_RANKING_IMAGES = 200  # images by which the traversals rank the latents
MIN_UMAP_IMAGES = 20
MAX_COLORS = 10  # labels that have a color in the map
PLANE_SIDE, SMALL_PLANE_SIDE = 13, 7  # images along a side of the decoded plane
MAX_DIMS_OF_LARGE_PLANE = 3 * 64 * 64
INACTIVE_COLOR = 9


# -- traversals ------------------------------------------------------------------------------------


def traversals(context: ReportContext) -> Section | None:
    """Show the most active latents, each from -3 to 3 while the others stay fixed."""
    if context.posterior is None or context.subset is None:
        return None
    assert isinstance(context.model, CanEncode)
    images = context.subset.evenly_spaced(NUM_RANKING_IMAGES)
    units = context.posterior.mean.shape[1]
    if level_shapes(context.model) and context.activity is not None:
        units = len(context.activity.variance)  # the channels of its levels
    count = min(MAX_LATENTS, units, len(images) - 1)
    if count < 1:
        return None
    result = traverse(context.model, images, count, steps=NUM_STEPS)
    pixels = shrink_images(result.images, MAX_THUMBNAIL_SIDE)
    rows = []
    activity, unit = result.rate, "nats"
    if activity is None:  # no latent has a KL of its own
        activity, unit = result.variance, "variance"
    for i, (latent, value) in enumerate(zip(result.latents, activity, strict=True)):
        alt = f"{result.unit.capitalize()} {latent} from -3 to 3 in {NUM_STEPS} images"
        image = inline_grid(pixels[i * NUM_STEPS : (i + 1) * NUM_STEPS], NUM_STEPS, alt)
        rows.append((image, latent, f"{format_number(value, 2)} {unit}"))
    values = {
        "rows": rows,
        "noise_map": result.noise_map,
        "sorted_by": "KL" if result.rate is not None else "variance",
        "unit": result.unit,
        "shrunk": is_shrunk(result.images, MAX_THUMBNAIL_SIDE),
    }
    return Section("traversals", "Latent traversals", values)


# -- map -------------------------------------------------------------------------------------------


def latent_map(context: ReportContext) -> Section | None:
    """Show the latents or features in two dimensions, by PCA and optionally by UMAP."""
    images, vectors = context.subset, _embed_subset(context)
    if vectors is None or images is None or len(vectors) < 5 or vectors.shape[1] < 2:
        return None
    pca, points = _project_pca(vectors)
    maps = [_draw_map("PCA", points, images)]
    if context.umap and len(vectors) >= MIN_UMAP_IMAGES:
        maps.append(_draw_map("UMAP", _project_umap(vectors), images))
    space = "latent space" if context.posterior is not None else "feature space"
    values = {
        "space": space,
        "maps": maps,
        "explained": format_number(100 * float(pca.variance_share.sum()), 2),
        "count": len(vectors),
        "dim": vectors.shape[1],
        "label_conditional": is_label_conditional(context.model),
        "plane": _decode_plane(context, pca, points),
    }
    return Section("latent_map", f"Map of the {space}", values)


def _embed_subset(context: ReportContext) -> Float[np.ndarray, "n dim"] | None:
    """Return the posterior means, or the noise that maps to them, else the model's features."""
    if context.activity is not None:
        return context.activity.mean
    if context.subset is not None and isinstance(context.model, CanEmbed):
        return context.model.embed(context.subset)
    return None


def _project_pca(vectors: Float[np.ndarray, "n dim"]) -> tuple[PrincipalComponents, Points]:
    points = torch.from_numpy(vectors)
    pca = fit_principal_components(points, 2)
    return pca, pca.project(points).numpy()


def _project_umap(vectors: Float[np.ndarray, "n dim"]) -> Points:
    """Project to two dimensions by UMAP (McInnes 2018)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP  # pyright: ignore[reportMissingImports]: an optional extra

        neighbors = min(15, len(vectors) - 1)
        umap = UMAP(n_neighbors=neighbors, random_state=0, n_jobs=1)
        return np.asarray(umap.fit_transform(vectors))


def _draw_map(method: str, points: Points, images: Images) -> dict[str, object]:
    groups = _group_by_label(points, images)
    legend = [group for group in groups if group.color is not None]
    label = f"{len(points)} images by {method}"
    if legend:
        label += ", colored by label: " + ", ".join(group.name for group in legend)
    return {"method": method, "chart": draw_scatter_plot(groups, label=label), "legend": legend}


def _group_by_label(points: Points, images: Images) -> list[PointGroup]:
    """Return one group for each of the most frequent labels; the other points in grey."""
    if images.labels is None or not images.label_names:
        return [PointGroup("all", points)]
    counts = np.bincount(images.labels[images.labels >= 0], minlength=len(images.label_names))
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MAX_COLORS])
    others = points[~np.isin(images.labels, frequent)]
    groups = [PointGroup("other", others)] if len(others) else []
    for color, label in enumerate(frequent.tolist()):
        members = points[images.labels == label]
        if len(members):
            groups.append(PointGroup(images.label_names[label], members, color))
    return groups


def _decode_plane(
    context: ReportContext, pca: PrincipalComponents, points: Points
) -> InlineImage | None:
    """Decode a regular grid of the PCA plane (as Kingma & Welling 2013, fig. 4)."""
    model = context.model
    # a label-conditional model would need one label for the whole plane
    if not isinstance(model, CanEncode) or is_label_conditional(model):
        return None
    large = context.run.info.dims <= MAX_DIMS_OF_LARGE_PLANE
    side = PLANE_SIDE if large else SMALL_PLANE_SIDE
    (left, bottom), (right, top) = np.percentile(points, (2, 98), axis=0)
    x, y = np.linspace(left, right, side), np.linspace(top, bottom, side)
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)).float()
    images = model.decode(from_noise(model, pca.reconstruct(grid).numpy()))
    alt = f"{side} by {side} images decoded from the plane of the map"
    return inline_grid(shrink_images(images, MAX_THUMBNAIL_SIDE), side, alt)


# -- KL --------------------------------------------------------------------------------------------


def kl_per_latent(context: ReportContext) -> Section | None:
    """KL and activity of each latent, with warnings of posterior collapse."""
    activity = context.activity
    if activity is None:
        return None
    colors = [0 if activity.active[i] else INACTIVE_COLOR for i in activity.order]
    values = {
        "kl_chart": _draw_kl_chart(activity, colors),
        "activity_chart": _draw_activity_chart(activity, colors),
        "noise_map": activity.noise_map,
        "num_active": int(activity.active.sum()),
        "num_latents": len(activity.variance),
        "unit": activity.unit,
        "total": None if activity.total_rate is None else format_number(activity.total_rate, 3),
        "is_point": activity.is_point,
        "largest": "" if activity.rate is None else format_number(float(activity.rate.max()), 3),
        "warnings": context.collapse_warnings,
    }
    title = "Activity of the latents" if activity.rate is None else f"KL per {activity.unit}"
    return Section("kl_per_latent", title, values)


def _draw_kl_chart(activity: LatentActivity, colors: list[int]) -> str:
    """Draw the KL of each latent; nothing where only their sum is a KL."""
    if activity.rate is None:
        return ""
    rate, order, active = activity.rate, activity.order, activity.active
    count = int(active.sum())
    active_first = bool(np.all(active[order][:count]))
    return draw_bar_chart(
        rate[order].tolist(),
        colors,
        label=f"KL of each of {len(rate)} {activity.unit}s, largest first; {count} are active",
        x_title=f"{activity.unit}s, largest KL first",
        y_title="KL, nats",
        mark_after=count if active_first and 0 < count < len(rate) else None,
        mark_text=f"{count} active units",
    )


def _name_variance(activity: LatentActivity) -> str:
    if activity.is_point:
        return "Var(z), its mean = 1"
    return "Var(E[z|x])" if activity.noise_map == "none" else "Var(E[u|x])"


def _draw_activity_chart(activity: LatentActivity, colors: list[int]) -> str:
    by_variance = activity.rate is None
    variance = activity.variance[activity.order]
    scale = max(float(variance.mean()), 1e-30) if activity.is_point else 1.0
    return draw_dot_plot(
        (variance / scale).tolist(),
        colors,
        label=f"Variance of each {activity.unit}'s posterior mean over the images, and threshold",
        x_title=f"{activity.unit}s, {'largest variance first' if by_variance else 'same order'}",
        y_title=_name_variance(activity),
        threshold=ACTIVE_UNIT_VARIANCE,
        threshold_text=f"active unit above {ACTIVE_UNIT_VARIANCE}",
    )
