"""Sample grids, reconstructions and captions that are written while a model trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import write_atomically
from pinxit.data.captions import captions_round_robin
from pinxit.data.images import Images
from pinxit.data.masks import random_patch_mask, show_masked
from pinxit.models.abilities import abilities
from pinxit.runs import Run


def draw(model: Any, run: Run, step: int, shown: Images, n: int = 36) -> Path | None:
    """Grids of what the model makes now: samples of seed 0, and reconstructions of `shown`.

    Of a model that only completes: `shown` with 3 patches in 4 missing, completed, and whole.
    """
    able, path = abilities(model), None
    if "reconstruct" in able and len(shown):
        pairs = Images.concatenate([shown, model.reconstruct(shown)])
        grid = pairs.grid(columns=len(shown))
        grid.save(run.path / "samples" / f"reconstruct-{step:07d}.png")
    if "complete" in able and "sample" not in able and len(shown):
        path = _completed(model, shown).save(run.path / "samples" / f"step-{step:07d}.png")
    worded = {"draw": _drawn, "edit": _edited, "caption": _told}
    for name in worded.keys() & set(able):
        path = worded[name](model, shown, run.path / "samples", f"step-{step:07d}")
    if "sample" in able:
        path = model.sample(n, seed=0).save(run.path / "samples" / f"step-{step:07d}.png")
    return path


def _drawn(model: Any, shown: Images, folder: Path, name: str) -> Path | None:
    """Two rows: what is drawn of captions, and the images that have them; the captions beside."""
    rows, texts = captions_round_robin(shown, model.text_tokenizer.languages)
    some = shown.take(rows)
    if not texts:
        return None
    write_atomically(folder / "captions.txt", "\n".join(texts) + "\n")
    images = Images.concatenate([model.draw(texts, seed=0), some])
    return images.grid(columns=len(texts)).save(folder / f"{name}.png")


def _edited(model: Any, shown: Images, folder: Path, name: str) -> Path | None:
    """Three rows: before, edited, the truth; what was asked for beside."""
    rows, texts = captions_round_robin(shown, model.text_tokenizer.languages)
    some = shown.take(rows)
    if not texts or some.before is None:
        return None
    write_atomically(folder / "captions.txt", "\n".join(texts) + "\n")
    before = Images(some.before)
    made = model.edit(before, texts, seed=0, temperature=0.0)
    rows = Images.concatenate([before, made, some])
    return rows.grid(columns=len(texts)).save(folder / f"{name}.png")


def _told(model: Any, shown: Images, folder: Path, name: str) -> Path:
    """What is said of the images in each language, as text."""
    lines = []
    for language in model.text_tokenizer.languages:
        for i, row in enumerate(model.caption(shown, language=language, num_beams=1)):
            lines.append(f"{shown.names[i] if len(shown.names) else i}\t{language}\t{row[0].text}")
    return write_atomically(folder / f"{name}.txt", "\n".join(lines) + "\n")


def _completed(model: Any, shown: Images, ratio: float = 0.75) -> Images:
    """Three rows: what is given, what is made of it, the truth."""
    missing = random_patch_mask(shown, ratio, model.patch_size)
    made = model.complete(shown, missing, seed=0)
    rows = Images.concatenate([show_masked(shown, missing), made, shown])
    return rows.grid(columns=len(shown))
