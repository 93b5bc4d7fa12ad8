"""Captions of new combinations of known words, in languages with and without spaces."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import pinxit
from benchmarks.tables import Cell, Table
from pinxit.data.images import SPLITS, Images
from pinxit.models.protocols import CanCaption

SIDE = 16
RGB = ((220, 20, 20), (20, 20, 220), (20, 160, 20), (230, 200, 20))
# the caption, the names of the colors in the order of RGB, and those of the shapes
LANGUAGES = {
    "en": ("there is a {c} {s}", "red blue green yellow", "square circle triangle bar"),
    "zh": ("这里有一个{c}的{s}", "红色 蓝色 绿色 黄色", "方块 圆形 三角 长条"),
    "ja": ("ここに{c}{s}があります", "赤い 青い 緑の 黄色い", "四角 丸 三角 棒"),
    "th": ("มี{s}{c}อยู่ที่นี่", "สีแดง สีน้ำเงิน สีเขียว สีเหลือง", "สี่เหลี่ยม วงกลม สามเหลี่ยม แท่ง"),
}
HELD_OUT = ((0, 2), (1, 0), (2, 3))  # color and shape, in no training image
MODEL = {"patch_size": 4, "width": 64, "depth": 1, "decoder_depth": 1}
SEEDS = 3


def languages(quick: bool) -> Iterator[Table]:
    """A table: captions that are exact, per language, with the same images, model and steps."""
    steps, seeds = (20, 1) if quick else (600, SEEDS)
    rows: list[tuple[Cell, ...]] = []
    for language in LANGUAGES:
        exact = np.array([_measure(language, steps, seed) for seed in range(seeds)]) * 100
        means = exact.mean(0)
        errors = exact.std(0, ddof=1) / seeds**0.5 if seeds > 1 else np.zeros(2)
        cells = [f"{m:.1f} ± {e:.1f}" for m, e in zip(means, errors, strict=True)]
        rows.append((language, *cells))
    yield Table(
        f"Exact captions after {steps} steps, in % (must: held out within 5 of English)",
        ("language", "known combinations", "held-out combinations"),
        tuple(rows),
        (f"Mean and standard error of {seeds} seeds, which also change the images.",),
    )


def _measure(language: str, steps: int, seed: int) -> tuple[float, float]:
    """Train, and return the fractions of exact captions of known and held-out combinations."""
    images = draw_combinations(language, seed)
    config = pinxit.Seq2Seq(source="image", target="text", **MODEL)
    settings = {"steps": steps, "batch_size": 32, "precision": "fp32", "num_evals": 1}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = pinxit.train(config, images, out=out, quiet=True, seed=seed, **settings)
        model = run.load()
    assert isinstance(model, CanCaption)
    known, held_out = (
        _exact(model, images.split(split).evenly_spaced(144), language)
        for split in ("train", "test")
    )
    return known, held_out


def _exact(model: CanCaption, images: Images, language: str) -> float:
    found = [row[0].text for row in model.caption(images, language=language)]
    pairs = zip(found, images.captions[language], strict=True)
    return float(np.mean([a == b for a, b in pairs]))


def draw_combinations(language: str, seed: int, known: int = 40, held_out: int = 12) -> Images:
    """Draw images of one shape each: those of known combinations to train on, others to test."""
    rng = np.random.default_rng(seed)
    template, colors, shapes = LANGUAGES[language]
    pixels, captions, splits = [], [], []
    for i, color in enumerate(colors.split()):
        for j, shape in enumerate(shapes.split()):
            is_known = (i, j) not in HELD_OUT
            for _ in range(known if is_known else held_out):
                pixels.append(_draw(i, j, rng))
                captions.append(template.format(c=color, s=shape))
                splits.append(SPLITS.index("train" if is_known else "test"))
    names = [f"{i:04d}" for i in range(len(pixels))]
    return Images(
        np.stack(pixels),
        names=names,
        captions={language: captions},
        splits=np.array(splits, np.int8),
        source=f"combinations-{language}",
        fingerprint=f"combinations {language} {seed}",
    )


def _draw(color: int, shape: int, rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw, (x, y) = ImageDraw.Draw(image), rng.integers(1, 8, 2).tolist()
    box = (x, y, x + 6, y + 6)
    match shape:
        case 0:
            draw.rectangle(box, fill=RGB[color])
        case 1:
            draw.ellipse(box, fill=RGB[color])
        case 2:
            draw.polygon([(x + 3, y), (x, y + 6), (x + 6, y + 6)], fill=RGB[color])
        case _:
            draw.rectangle((x, y + 2, x + 6, y + 4), fill=RGB[color])
    return np.asarray(image)
