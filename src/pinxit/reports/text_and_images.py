"""Words and images: captions beside images, right and wrong ones, and what looks at what."""

from __future__ import annotations

from typing import Any

from pinxit.data.captions import captions_round_robin
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.evaluation.editing import check_edit, edits_from_names
from pinxit.evaluation.retrieval import nearest_images
from pinxit.evaluation.scene_reader import match_scenes, parse_scene
from pinxit.evaluation.text_to_image import scenes_from_names
from pinxit.reports.context import Material
from pinxit.reports.images import Image, wall
from pinxit.reports.sections import LONGEST, Section, small_pixels

MANY = 10  # captions
EACH = 4  # images of each
LOOKED_AT = 4_000  # training images among which the nearest is sought


def worded(material: Material) -> Section | None:
    """Captions with what was made of them, and the truth."""
    ways = {"draw": _drawn, "edit": _edited, "caption": _captioned, "translate": _translated}
    way = next((name for name in ways if material.can(name)), None)
    if way is None or material.seen is None:
        return None
    rows, texts = captions_round_robin(material.seen, material.model.text_tokenizer.languages)
    chosen = evenly_spaced_indices(len(rows), MANY)
    if len(rows) == 0 or (way == "edit" and material.seen.before is None):
        return None
    some = material.seen.take(rows[chosen])
    values = ways[way](material, some, [texts[i] for i in chosen])
    return Section("worded", "Words and images", {"way": way, "split": material.split, **values})


def _drawn(material: Material, some: Images, texts: list[str]) -> dict[str, Any]:
    made = material.model.draw([text for text in texts for _ in range(EACH)], seed=0)
    scenes, near = scenes_from_names(some), _nearest(material, made[::EACH])
    rows = []
    for i, text in enumerate(texts):
        few = made[EACH * i : EACH * (i + 1)]
        right = None
        if scenes is not None:
            right = sum(match_scenes(scenes[i], parse_scene(p)).exact for p in few)
        rows.append(
            {
                "text": text,
                "made": _wall(few, f"{EACH} images drawn of: {text}"),
                "truth": _wall(some[i], f"The image of the data with the caption: {text}"),
                "near": None if near is None else _wall(near[i], "The nearest training image"),
                "right": right,
            }
        )
    return {"rows": rows, "each": EACH, "read": scenes is not None}


def _nearest(material: Material, made: Images) -> Images | None:
    """The training image that differs least from each, in squares of pixels."""
    assert material.images is not None
    rows = material.images.split_indices("train")
    rows = rows[evenly_spaced_indices(len(rows), LOOKED_AT)]
    if len(rows) == 0 or material.images.pixels.shape[1:] != made.pixels.shape[1:]:
        return None
    known = material.images.take(rows)
    return known.take(nearest_images(made, known))


def _edited(material: Material, some: Images, texts: list[str]) -> dict[str, Any]:
    assert some.before is not None
    before, edits = Images(some.before), edits_from_names(some)
    made = material.model.edit(before, texts, seed=0, temperature=0.0)
    rows = [
        {
            "text": text,
            "before": _wall(before[i], "The image before"),
            "made": _wall(made[i], f"Edited: {text}"),
            "truth": _wall(some[i], "The true image after"),
            "right": None
            if edits is None
            else all(check_edit(edits[i], parse_scene(made.pixels[i]))),
        }
        for i, text in enumerate(texts)
    ]
    return {"rows": rows, "read": edits is not None}


def _captioned(material: Material, some: Images, texts: list[str]) -> dict[str, Any]:
    languages = material.model.text_tokenizer.languages
    written = {name: material.model.caption(some, language=name) for name in languages}
    rows = []
    for i in range(len(some)):
        said = []
        for name in languages:
            best, true = written[name][i][0], some.captions.get(name, [""] * len(some))[i]
            said.append((name, best.text, f"{best.log_prob:.2f}", true, best.text == true))
        rows.append({"truth": _wall(some[i], f"Image {i + 1}"), "said": said})
    return {"rows": rows}


def _translated(material: Material, some: Images, texts: list[str]) -> dict[str, Any]:
    first, second = material.model.text_tokenizer.languages[:2]
    rows = []
    for source, target in ((first, second), (second, first)):
        given = [text for text in some.captions[source] if text]
        true = [b for a, b in zip(some.captions[source], some.captions[target], strict=True) if a]
        made = material.model.translate(given, source=source, target=target)
        for a, said, b in zip(given, made, true, strict=True):
            rows.append((source, a, target, said.text, b, said.text == b))
    return {"rows": rows}


def _wall(images: Images, alt: str) -> Image:
    """In a row; small images enlarged."""
    small = small_pixels(images, LONGEST)
    scale = max(1, 64 // max(small.shape[1:3]))
    return wall(small.repeat(scale, 1).repeat(scale, 2), len(images), alt)
