"""The section for models of text: captions, edits or translations beside the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.evaluation.editing import check_edit, edits_from_names
from pinxit.evaluation.retrieval import nearest_images
from pinxit.evaluation.scene_reader import match_scenes, parse_scene
from pinxit.evaluation.text_to_image import readable_scenes
from pinxit.models.inputs import captions_within_limit
from pinxit.models.protocols import CanCaption, CanDraw, CanEdit, CanTranslate, HasText
from pinxit.reports.context import ReportContext
from pinxit.reports.sections import Section, inline_row

NUM_CAPTIONS = 10
IMAGES_PER_CAPTION = 4
MAX_TRAINING_IMAGES = 4_000  # searched for the nearest neighbor of a sample


def captions(context: ReportContext) -> Section | None:
    """Captions and images: what the model generates from one or the other, and the truth."""
    model = context.model
    if context.subset is None or not isinstance(model, HasText):
        return None
    rows, texts = captions_within_limit(model, context.subset)
    if len(rows) == 0:
        return None
    chosen = evenly_spaced_indices(len(rows), NUM_CAPTIONS)
    images, texts = context.subset.take(rows[chosen]), [texts[i] for i in chosen]
    task = _run_task(context, images, texts)
    if task is None:
        return None
    title, values = task
    return Section("captions", title, {**values, "split": context.split})


def _run_task(
    context: ReportContext, images: Images, texts: list[str]
) -> tuple[str, dict[str, Any]] | None:
    """Return title and template values of the model's task with images and captions."""
    model = context.model
    if isinstance(model, CanDraw):
        return "Text to image", _draw(model, images, texts, _take_training_images(context))
    if isinstance(model, CanEdit):
        return None if images.before is None else ("Image editing", _edit(model, images, texts))
    if isinstance(model, CanCaption):
        return "Captioning", _caption(model, images)
    if isinstance(model, CanTranslate):
        return "Translation", _translate(model, images)
    return None


# -- text to image ---------------------------------------------------------------------------------


def _draw(
    model: CanDraw, images: Images, texts: Sequence[str], training: Images | None
) -> dict[str, Any]:
    repeated = [text for text in texts for _ in range(IMAGES_PER_CAPTION)]
    generated = model.draw(repeated, seed=0)
    correct = _count_correct(generated, images)
    nearest = _find_nearest_training_images(generated[::IMAGES_PER_CAPTION], training)
    rows = []
    for i, text in enumerate(texts):
        first = i * IMAGES_PER_CAPTION
        samples = generated[first : first + IMAGES_PER_CAPTION]
        row = {
            "text": text,
            "generated": inline_row(samples, f"{IMAGES_PER_CAPTION} samples for: {text}"),
            "truth": inline_row(images[i], f"The data's image for: {text}"),
            "nearest": None
            if nearest is None
            else inline_row(nearest[i], "Nearest training image"),
            "correct": None if correct is None else correct[i],
        }
        rows.append(row)
    return {
        "task": "draw",
        "rows": rows,
        "per_caption": IMAGES_PER_CAPTION,
        "checked": correct is not None,
    }


def _count_correct(generated: Images, images: Images) -> list[int] | None:
    """Return how many samples of each caption show its scene; None if the images are not scenes."""
    scenes = readable_scenes(images)
    if scenes is None:
        return None
    counts = []
    for i, scene in enumerate(scenes):
        samples = generated[i * IMAGES_PER_CAPTION : (i + 1) * IMAGES_PER_CAPTION]
        counts.append(sum(match_scenes(scene, parse_scene(pixels)).exact for pixels in samples))
    return counts


def _take_training_images(context: ReportContext) -> Images | None:
    if context.images is None:
        return None
    rows = context.images.split_indices("train")
    return context.images.take(rows[evenly_spaced_indices(len(rows), MAX_TRAINING_IMAGES)])


def _find_nearest_training_images(generated: Images, training: Images | None) -> Images | None:
    """Return the training image nearest to each generated image, by squared distance."""
    if training is None or len(training) == 0:
        return None
    if training.pixels.shape[1:] != generated.pixels.shape[1:]:
        return None
    return training.take(nearest_images(generated, training))


# -- editing ---------------------------------------------------------------------------------------


def _edit(model: CanEdit, images: Images, texts: Sequence[str]) -> dict[str, Any]:
    assert images.before is not None
    before, edits = Images(images.before), edits_from_names(images)
    edited = model.edit(before, texts, seed=0, temperature=0.0)
    rows = []
    for i, text in enumerate(texts):
        correct = edits is not None and all(check_edit(edits[i], parse_scene(edited.pixels[i])))
        row = {
            "text": text,
            "before": inline_row(before[i], "Input image"),
            "edited": inline_row(edited[i], f"Edited image: {text}"),
            "truth": inline_row(images[i], "The data's edited image"),
            "correct": correct,
        }
        rows.append(row)
    return {"task": "edit", "rows": rows, "checked": edits is not None}


# -- captioning ------------------------------------------------------------------------------------


def _caption(model: CanCaption, images: Images) -> dict[str, Any]:
    languages = model.text_tokenizer.languages
    generated = {name: model.caption(images, language=name) for name in languages}
    rows = []
    for i in range(len(images)):
        texts = []
        for name in languages:
            best = generated[name][i][0]
            truth = images.captions.get(name, [""] * len(images))[i]
            log_prob = f"{best.log_prob:.2f}".replace("-", "−")
            texts.append((name, best.text, log_prob, truth, best.text == truth))
        rows.append({"image": inline_row(images[i], f"Image {i + 1}"), "texts": texts})
    return {"task": "caption", "rows": rows}


# -- translation -----------------------------------------------------------------------------------


def _translate(model: CanTranslate, images: Images) -> dict[str, Any]:
    first, second = model.text_tokenizer.languages[:2]
    rows = []
    for source, target in ((first, second), (second, first)):
        pairs = zip(images.captions[source], images.captions[target], strict=True)
        pairs = [(text, truth) for text, truth in pairs if text]
        results = model.translate([text for text, _ in pairs], source=source, target=target)
        for (text, truth), result in zip(pairs, results, strict=True):
            rows.append((source, text, target, result.text, truth, result.text == truth))
    return {"task": "translate", "rows": rows}
