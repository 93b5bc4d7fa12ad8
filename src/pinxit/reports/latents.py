"""The latent space: what each latent does, where the images lie in it, what each one costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.evaluation.latents import collapse_warnings
from pinxit.reports import charts
from pinxit.reports.charts import Group
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.images import Image, wall
from pinxit.reports.sections import THUMB, Section, shown_small, small_pixels
from pinxit.sampling.inputs import sees_labels
from pinxit.sampling.latents import ACTIVE_UNIT_VARIANCE, traverse

ROWS, STEPS = 8, 13  # of a traversal: from -3 to 3 in steps of one half
PLANE = 13  # images a side of the decoded plane
COLOURS = 10


def traversed(material: Material) -> Section | None:
    """Each of the most active latents from -3 to 3, the others as one image has them."""
    if material.posterior is None or material.seen is None:
        return None
    most = min(ROWS, material.posterior.mean.shape[1])
    # activity is measured anew on these few, and they are enough to rank the latents
    few = material.seen.evenly_spaced(200)
    found = traverse(material.model, few, most, steps=STEPS)
    small = small_pixels(found.images, THUMB)
    rows = []
    for i, (latent, rate) in enumerate(zip(found.latents, found.rate, strict=True)):
        alt = f"Latent {latent} from -3 to 3: {STEPS} images"
        image = wall(small[i * STEPS : (i + 1) * STEPS], STEPS, alt)
        rows.append((image, latent, f"{number(rate, 2)} nats"))
    values = {"rows": rows, "small": shown_small(found.images, THUMB)}
    return Section("traversed", "What the latents do", values)


def mapped(material: Material) -> Section | None:
    """The images in two dimensions, by PCA (and UMAP where it is installed)."""
    seen, vectors = material.seen, _vectors(material)
    if vectors is None or seen is None or len(vectors) < 5 or vectors.shape[1] < 2:
        return None
    from sklearn.decomposition import PCA

    pca = PCA(2, random_state=0)
    places = pca.fit_transform(vectors)
    share = float(pca.explained_variance_ratio_.sum())
    maps = [_map("PCA", places, seen)]
    if material.umap and len(vectors) >= 20:
        maps.append(_map("UMAP", _umap(vectors), seen))
    values = {
        "maps": maps,
        "share": number(100 * share, 2),
        "count": len(vectors),
        "dim": vectors.shape[1],
        "conditional": sees_labels(material.model),
        "plane": _plane(material, pca, places),
    }
    return Section("mapped", "A map of the latent space", values)


def _vectors(material: Material) -> np.ndarray | None:
    if material.posterior is not None:
        return material.posterior.mean
    if material.seen is not None and material.can("embed"):
        return material.model.embed(material.seen)
    return None


def _umap(vectors: np.ndarray) -> np.ndarray:
    """Two dimensions by UMAP (McInnes 2018)."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP  # pyright: ignore[reportMissingImports]: an extra

        near = min(15, len(vectors) - 1)
        made = UMAP(n_neighbors=near, random_state=0, n_jobs=1).fit_transform(vectors)
    return np.asarray(made)


def _map(method: str, places: np.ndarray, seen: Images) -> dict[str, Any]:
    groups = _groups(places, seen)
    coloured = [group for group in groups if group.style is not None]
    label = f"{len(places)} images by {method}" + (
        ", coloured by label: " + ", ".join(g.name for g in coloured) if coloured else ""
    )
    return {"method": method, "chart": charts.scatter(groups, label=label), "groups": coloured}


def _groups(places: np.ndarray, seen: Images) -> list[Group]:
    """The most frequent labels in colours, all others in grey."""
    if seen.labels is None or not seen.label_names:
        return [Group("all", places)]
    counts = np.bincount(seen.labels[seen.labels >= 0], minlength=len(seen.label_names))
    chosen = np.sort(np.argsort(-counts, kind="stable")[:COLOURS])
    rest = places[~np.isin(seen.labels, chosen)]
    groups = [Group("other", rest)] if len(rest) else []
    for style, label in enumerate(chosen.tolist()):
        points = places[seen.labels == label]
        if len(points):
            groups.append(Group(seen.label_names[label], points, style))
    return groups


def _plane(material: Material, pca: Any, places: np.ndarray) -> Image | None:
    """The plane of the map, decoded at even places (after Kingma & Welling 2013, fig. 4)."""
    if material.posterior is None or material.seen is None:
        return None
    if sees_labels(material.model):
        return None  # one label for the whole plane would say little
    side = PLANE if material.run.info.dims <= 3 * 64 * 64 else 7
    low, high = np.percentile(places, 2, axis=0), np.percentile(places, 98, axis=0)
    across = np.linspace(low[0], high[0], side)
    up = np.linspace(high[1], low[1], side)
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    made = material.model.decode(pca.inverse_transform(grid).astype(np.float32))
    alt = f"{side} by {side} images decoded from the plane of the map"
    return wall(small_pixels(made, THUMB), side, alt)


def priced(material: Material) -> Section | None:
    """KL of each latent, and which are active."""
    found = material.activity
    if found is None:
        return None
    rate, variance = found.rate, found.variance
    order, active = found.order, found.active
    styles = [0 if active[i] else 9 for i in order]
    count = int(active.sum())
    in_order = bool(np.all(active[order][:count]))
    values = {
        "bars": charts.bars(
            rate[order].tolist(),
            styles,
            label=f"KL of each of {len(rate)} latents, largest first; {count} are active",
            x_title="latents, largest first",
            y_title="KL, nats",
            cut=count if in_order and 0 < count < len(rate) else None,
            cut_text=f"{count} active",
        ),
        "dots": charts.dots(
            variance[order].tolist(),
            styles,
            label="Variance over the images of each latent's posterior mean, with the threshold",
            x_title="latents, in the same order",
            y_title="variance of E[z | x]",
            threshold=ACTIVE_UNIT_VARIANCE,
            threshold_text=f"active above {ACTIVE_UNIT_VARIANCE}",
        ),
        "active": count,
        "latents": len(rate),
        "total": number(float(rate.sum()), 3),
        "largest": number(float(rate.max()), 3),
        "warnings": list(collapse_warnings(found, material.seen, material.reconstructions)),
    }
    return Section("priced", "What each latent costs", values)
