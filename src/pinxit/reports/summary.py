"""The head of the page: one paragraph from the facts, and the figures to see first."""

from __future__ import annotations

from dataclasses import dataclass

from pinxit.console import format_duration
from pinxit.data.psnr import psnr
from pinxit.evaluation.metrics import get_metric
from pinxit.models import get_family
from pinxit.reports.context import Material
from pinxit.reports.formatting import number
from pinxit.reports.metrics_table import BETTER


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    name: str
    figure: str
    unit: str = ""
    note: str = ""


def lead(material: Material) -> str:
    """What this is, in two or three sentences."""
    run, info = material.run, material.run.info
    kind = (get_family(run.family).__doc__ or run.family).strip().splitlines()[0].split(" (")[0]
    kind = kind[0].lower() + kind[1:]
    source = (run.config.get("data") or {}).get("source", "images")
    article = "An" if kind[0] in "aeiou" else "A"
    colour = "grey" if info.channels == 1 else "colour"
    text = (
        f"{article} {kind} that learned from {info.count:,} images of {source}, "
        f"{info.width} × {info.height} pixels in {colour}"
    )
    if info.label_names:
        text += f", with {len(info.label_names)} labels"
    seconds = _seconds(material)
    text += f", in {format_duration(seconds)}." if seconds else "."
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
    return [tile for tile in found if tile is not None]


# where the table's own name needs its group beside it
NAMES = {
    "log_likelihood_bits_per_dim": "log-likelihood",
    "elbo_bits_per_dim": "ELBO",
    "sharpness_samples": "detail in samples",
    "frechet_samples": "Fréchet distance of samples",
}
# figures of the evaluation to see first: the first of each row that there is
FIRST = (
    ("log_likelihood", "elbo"),
    ("log_likelihood_bits_per_dim", "elbo_bits_per_dim"),
    ("t2i_exact", "sample_label_accuracy"),
    ("edit_exact", "edit_psnr"),
    ("caption_exact", "caption_exact:en", "chrf:en", "chrf:fr"),
    ("psnr",),
    ("sharpness_samples",),
    ("frechet_samples",),
)


def _evaluated(material: Material) -> list[Tile]:
    names = [next((n for n in row if n in material.figures), None) for row in FIRST]
    return [_figure(name, material.figures) for name in names if name is not None]


def _figure(name: str, figures: dict[str, float]) -> Tile:
    known = get_metric(name)
    title = NAMES.get(name, known.title)
    error = figures.get(f"{name}_error")
    parts = [f"± {number(error, 2)}"] if error else []
    parts += [BETTER[known.better]] if known.better else []
    return Tile(
        title,
        number(figures[name], 4 if abs(figures[name]) >= 100 else 3),
        known.unit,
        ", ".join(parts),
    )


def _validation(material: Material) -> Tile | None:
    """The best ELBO on validation images, where nothing was evaluated."""
    if "elbo" in material.figures:
        return None
    values = [row["val_elbo"] for row in material.run.metrics() if "val_elbo" in row]
    if not values:
        return None
    return Tile("ELBO, validation", number(max(values), 4), "nats", "an image; higher is better")


def _active(material: Material) -> Tile | None:
    found = material.activity
    if found is None:
        return None
    return Tile("active latents", str(int(found.active.sum())), f"of {len(found.active)}")


def _error(material: Material) -> Tile | None:
    if material.errors is None or "psnr" in material.figures:
        return None
    text = number(float(psnr(material.errors).mean()), 3)
    return Tile("PSNR", text, "dB", f"reconstructions of {material.split} images")


def _seen(material: Material) -> list[Tile]:
    rows = material.run.metrics()
    if not rows or "images" not in rows[-1]:
        return []
    seen, last = rows[-1]["images"], rows[-1]
    epochs = seen / max(1, material.run.info.count)
    note = f"{number(epochs, 2)} times each" if epochs >= 1.5 else ""
    tile = Tile("images seen", _short(seen), "", note)
    if not last.get("seconds") or material.figures:
        return [tile]
    return [tile, Tile("speed", _short(seen / last["seconds"]), "images/s", "while training")]


def _short(count: float) -> str:
    """12,300 as 12,300; 12,300,000 as 12.3 million."""
    return f"{number(count / 1e6, 3)} M" if count >= 1e6 else f"{round(count):,}"
