"""The head of the page: one paragraph from the facts, and the figures to see first."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.models import family
from pinxit.reports.material import ACTIVE, Material
from pinxit.reports.sections import root_mean_square
from pinxit.reports.words import duration, number


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    name: str
    figure: str
    unit: str = ""
    note: str = ""


def lead(material: Material) -> str:
    """What this is, in two or three sentences."""
    run, facts = material.run, material.run.facts
    kind = (family(run.family).__doc__ or run.family).strip().splitlines()[0].split(" (")[0]
    kind = kind[0].lower() + kind[1:]
    source = (run.config.get("data") or {}).get("source", "pictures")
    article = "An" if kind[0] in "aeiou" else "A"
    colour = "grey" if facts.channels == 1 else "colour"
    text = (
        f"{article} {kind} that learned from {facts.count:,} pictures of {source}, "
        f"{facts.width} × {facts.height} pixels in {colour}"
    )
    if facts.label_names:
        text += f", with {len(facts.label_names)} labels"
    seconds = _seconds(material)
    text += f", in {duration(seconds)}." if seconds else "."
    if material.model is not None:
        weights = sum(p.numel() for p in material.model.parameters())
        text += f" It has {number(weights, 3)} weights."
    return text


def _seconds(material: Material) -> float:
    rows = material.run.metrics()
    return max((row.get("seconds", 0.0) for row in rows), default=0.0)


def tiles(material: Material) -> list[Tile]:
    """Likelihood, reconstruction, activity and how much was seen: whatever is known."""
    found = [*_evaluated(material), _validation(material), _active(material), _error(material)]
    found += _seen(material)
    names: set[str] = set()
    return [t for t in found if t is not None and not (t.name in names or names.add(t.name))]


def _evaluated(material: Material) -> list[Tile]:
    return []


def _validation(material: Material) -> Tile | None:
    """The best ELBO on validation pictures, where nothing was evaluated."""
    if any(name.startswith(("elbo", "nll", "log_likelihood")) for name in material.figures):
        return None
    values = [row["val_elbo"] for row in material.run.metrics() if "val_elbo" in row]
    if not values:
        return None
    return Tile("ELBO, validation", number(max(values), 4), "nats", "a picture; higher is better")


def _active(material: Material) -> Tile | None:
    if material.posterior is None:
        return None
    variance = material.posterior.mean.var(0)
    active = int((variance > ACTIVE).sum())
    return Tile("active latents", str(active), f"of {len(variance)}")


def _error(material: Material) -> Tile | None:
    if material.reconstructions is None or material.seen is None:
        return None
    error = root_mean_square(material.seen.pixels, material.reconstructions.pixels)
    note = f"root mean square, {material.split} pictures"
    return Tile("reconstruction error", number(float((error**2).mean() ** 0.5), 3), "of 255", note)


def _seen(material: Material) -> list[Tile]:
    rows = material.run.metrics()
    if not rows or "pictures" not in rows[-1]:
        return []
    seen, last = rows[-1]["pictures"], rows[-1]
    epochs = seen / max(1, material.run.facts.count)
    note = f"{number(epochs, 2)} times each" if epochs >= 1.5 else ""
    tile = Tile("pictures seen", _short(seen), "", note)
    if not last.get("seconds"):
        return [tile]
    return [tile, Tile("speed", _short(seen / last["seconds"]), "pictures/s", "while training")]


def _short(count: float) -> str:
    """12,300 as 12,300; 12,300,000 as 12.3 million."""
    return f"{number(count / 1e6, 3)} M" if count >= 1e6 else f"{round(count):,}"
