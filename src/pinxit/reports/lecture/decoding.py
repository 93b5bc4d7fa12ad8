"""The slide on sequence to sequence: what is attended to, and the next token, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.models.decoding_protocols import CanTraceCaption, CanTraceDrawing
from pinxit.models.inputs import captions_within_limit
from pinxit.models.protocols import CanCaption, CanDraw
from pinxit.models.results import CaptionStep, DrawingStep
from pinxit.reports.attention_maps import overlay_attention
from pinxit.reports.context import ReportContext
from pinxit.reports.formatting import format_number
from pinxit.reports.images import ERROR_COLOR
from pinxit.reports.lecture.slide import Slide, locate
from pinxit.reports.sections import inline_row
from pinxit.reports.stepper import MAX_FRAMES, Frame

TITLE = (
    "Sequence to sequence: the encoder reads all of the source, the decoder writes left to right"
)
MAX_LANGUAGES = 2
NUM_DRAWING_STEPS = 16


def decoding(context: ReportContext) -> Slide | None:
    """Decode one caption per language, or one image, step by step."""
    model = context.model
    if isinstance(model, CanTraceCaption) and isinstance(model, CanCaption):
        return _show_caption(context, model)
    if isinstance(model, CanTraceDrawing) and isinstance(model, CanDraw):
        return _show_drawing(context, model)
    return None


# -- image to text ---------------------------------------------------------------------------------


def _show_caption(context: ReportContext, model: CanCaption) -> Slide | None:
    assert isinstance(model, CanTraceCaption)
    if context.subset is None:
        return None
    image = context.subset[len(context.subset) // 2]
    steppers, surest = [], []
    for language in model.text_tokenizer.languages[:MAX_LANGUAGES]:
        steps = model.trace_caption(image, language=language)[:MAX_FRAMES]
        frames = [
            Frame(str(i + 1), _caption_values(image, step), _caption_text(step))
            for i, step in enumerate(steps)
        ]
        steppers.append((f"decoding-{language}", f"To {language}", frames))
        surest += [step.candidates[0][1] for step in steps]
    if not steppers:
        return None
    values = {
        "task": "caption",
        "image": inline_row(image, "The source image"),
        "steppers": steppers,
        "mean_probability": format_number(float(np.mean(surest)), 2),
        "least_probability": format_number(min(surest), 2),
    }
    code = (locate(type(model).trace_caption), locate(type(model).caption))
    return Slide("decoding", TITLE, values, code)


def _caption_values(image: Images, step: CaptionStep) -> dict[str, Any]:
    chosen = step.candidates[0][0] or "the end"
    return {
        "image": overlay_attention(image, step.attention, f"Attention when '{chosen}' is written"),
        "text": step.text,
        "candidates": [
            {"text": token or "⟨end⟩", "patch": None, **_bar(p)} for token, p in step.candidates
        ],
        "words": [],
    }


def _caption_text(step: CaptionStep) -> str:
    token, probability = step.candidates[0]
    next_one = f"“{token.strip()}”" if token else "the end of the text"
    return f"next: {next_one}, with a probability of {format_number(probability, 2)}"


def _bar(probability: float) -> dict[str, str]:
    """Return a probability as text and as the length of a bar."""
    return {"p": f"{probability:.3f}", "percent": f"{100 * probability:.1f}%"}


# -- text to image ---------------------------------------------------------------------------------


def _show_drawing(context: ReportContext, model: CanDraw) -> Slide | None:
    assert isinstance(model, CanTraceDrawing)
    if context.subset is None:
        return None
    rows, texts = captions_within_limit(model, context.subset)
    if len(rows) == 0:
        return None
    text = texts[len(texts) // 2]
    steps = model.trace_drawing(text, NUM_DRAWING_STEPS)
    frames = [
        Frame(str(i + 1), _drawing_values(step), _drawing_text(step))
        for i, step in enumerate(steps)
    ]
    values = {
        "task": "draw",
        "text": text,
        "steppers": [("decoding-image", f"To an image: “{text}”", frames)],
        "mean_probability": format_number(float(np.mean([s.chosen_probability for s in steps])), 2),
        "least_probability": format_number(min(s.chosen_probability for s in steps), 2),
    }
    code = (locate(type(model).trace_drawing), locate(type(model).draw))
    return Slide("decoding", TITLE, values, code)


def _drawing_values(step: DrawingStep) -> dict[str, Any]:
    largest = max((weight for _, weight in step.attention), default=1.0) or 1.0
    marked = Images(_mark_cell(step)[None])
    return {
        "image": inline_row(marked, f"The image before cell {step.cell} is generated"),
        "text": "",
        "candidates": [
            {"text": "", "patch": inline_row(Images(patch[None]), "A candidate"), **_bar(p)}
            for patch, p in step.patches
        ],
        "words": [(word, f"{weight / largest:.2f}") for word, weight in step.attention],
    }


def _mark_cell(step: DrawingStep) -> np.ndarray:
    """Return the image with the next cell in color."""
    image = step.image if step.image.shape[2] == 3 else step.image.repeat(3, 2)
    (row, column), (h, w) = step.cell, step.chosen.shape[:2]
    marked = image.copy()
    marked[row * h : (row + 1) * h, column * w : (column + 1) * w] = ERROR_COLOR
    return marked


def _drawing_text(step: DrawingStep) -> str:
    return (
        f"row {step.cell[0] + 1}, column {step.cell[1] + 1}: a code is sampled that has a "
        f"probability of {format_number(step.chosen_probability, 2)}"
    )
