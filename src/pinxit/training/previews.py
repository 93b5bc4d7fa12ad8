"""Sample grids, reconstructions and captions that are written while a model trains."""

from __future__ import annotations

import json
from pathlib import Path

from pinxit.data.atomic_write import write_atomically
from pinxit.data.images import Images
from pinxit.data.masks import random_patch_mask, show_masked
from pinxit.data.typed_json import decode_json
from pinxit.models.generation import preview_options
from pinxit.models.inputs import captions_within_limit
from pinxit.models.protocols import (
    CanCaption,
    CanComplete,
    CanDraw,
    CanEdit,
    CanReconstruct,
    CanSample,
)
from pinxit.runs import Run

NUM_SAMPLES = 36
KINDS = ("step", "sample", "reconstruct")  # of grids; each is a file at each step
GENERATED = "samples: new images"  # title of grids that show no image of the data
# of kinds that always show the same, of runs that have no titles
NAMES = {"sample": "samples", "reconstruct": "reconstructions"}
MASK_RATIO = 0.75  # fraction of the patches that a preview of completion hides


def save_previews(model: object, run: Run, step: int, examples: Images) -> None:
    """Write to `samples/` what the model generates at this step, from seed 0 and these images.

    `titles.json` says what the rows of each kind of image are.
    """
    folder, name = run.path / "samples", f"step-{step:07d}"
    titles: dict[str, str] = {}
    if len(examples):
        if isinstance(model, CanReconstruct):
            grid = _stack_rows([examples, model.reconstruct(examples)])
            grid.save(folder / f"reconstruct-{step:07d}.png")
            titles["reconstruct"] = "reconstructions: original images above, reconstructed below"
        if isinstance(model, CanComplete) and not isinstance(model, CanSample):
            _preview_completion(model, examples).save(folder / f"{name}.png")
            titles["step"] = "completions: masked images, completed images, original images"
        if isinstance(model, CanDraw) and _preview_text_to_image(model, examples, folder, name):
            titles["step"] = "images from captions: generated above, true images below"
        if isinstance(model, CanEdit) and _preview_editing(model, examples, folder, name):
            titles["step"] = "edits: images before, edited images, true images"
        if isinstance(model, CanCaption):
            _preview_captions(model, examples, folder, name)
    if isinstance(model, CanSample):
        # a model that draws has a grid of this name already
        kind = "sample" if isinstance(model, CanDraw) else "step"
        grid = model.sample(NUM_SAMPLES, seed=0, **preview_options(model))
        grid.save(folder / f"{kind}-{step:07d}.png")
        titles[kind] = GENERATED
    if titles:
        write_atomically(folder / "titles.json", json.dumps(titles, indent=2) + "\n")


def list_grids(folder: Path, step: int, *, only_generated: bool = False) -> dict[str, Path]:
    """Return the grids that were written at a step, by their kind.

    `only_generated` leaves out those that show images of the training data, for comparison.
    """
    titles = read_titles(folder)
    files = {kind: folder / f"{kind}-{step:07d}.png" for kind in titles}
    return {
        kind: file
        for kind, file in files.items()
        if file.is_file() and (titles[kind] == GENERATED or not only_generated)
    }


def read_titles(folder: Path) -> dict[str, str]:
    """Return the title of each kind of grid; none if `titles.json` is missing or damaged."""
    try:
        titles = decode_json((folder / "titles.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = titles if isinstance(titles, dict) else {}
    return {name: str(title) for name, title in names.items() if name in KINDS}


def name_preview(folder: Path, kind: str) -> str:
    """Return what a kind of grid shows, in a word or a few: samples, completions, edits, ..."""
    title = read_titles(folder).get(kind) or NAMES.get(kind, "preview")
    return title.partition(":")[0]


def _preview_text_to_image(model: CanDraw, examples: Images, folder: Path, name: str) -> bool:
    """Save two rows, generated from captions and true; and the captions as a text file.

    Returns whether there are captions.
    """
    rows, captions = captions_within_limit(model, examples)
    if captions:
        _write_lines(folder / "captions.txt", captions)
        drawn = model.draw(captions, seed=0, **preview_options(model))
        grid = _stack_rows([drawn, examples.take(rows)])
        grid.save(folder / f"{name}.png")
    return bool(captions)


def _preview_editing(model: CanEdit, examples: Images, folder: Path, name: str) -> bool:
    """Save three rows, before, edited and true; and the instructions as a text file.

    Returns whether there are images before and instructions.
    """
    rows, instructions = captions_within_limit(model, examples)
    after = examples.take(rows)
    if not instructions or after.before is None:
        return False
    _write_lines(folder / "captions.txt", instructions)
    before = Images(after.before)
    edited = model.edit(before, instructions, seed=0, temperature=0.0, **preview_options(model))
    _stack_rows([before, edited, after]).save(folder / f"{name}.png")
    return True


def _preview_captions(model: CanCaption, examples: Images, folder: Path, name: str) -> None:
    """Save a text file with the name, language and generated caption of each image."""
    names = examples.names if len(examples.names) else range(len(examples))
    lines = [
        f"{image}\t{language}\t{captions[0].text}"
        for language in model.text_tokenizer.languages
        for image, captions in zip(
            names, model.caption(examples, language=language, num_beams=1), strict=True
        )
    ]
    _write_lines(folder / f"{name}.txt", lines)


def _preview_completion(model: CanComplete, examples: Images) -> Images:
    """Return a grid of three rows: masked images, completed, and the originals."""
    mask = random_patch_mask(examples, MASK_RATIO, model.patch_size)
    completed = model.complete(examples, mask, seed=0)
    return _stack_rows([show_masked(examples, mask), completed, examples])


def _stack_rows(rows: list[Images]) -> Images:
    """Return a grid with each of these as a row."""
    return Images.concatenate(rows).grid(columns=len(rows[0]))


def _write_lines(path: Path, lines: list[str]) -> None:
    write_atomically(path, "\n".join(lines) + "\n")
