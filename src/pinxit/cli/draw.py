"""`pinxit draw` and `pinxit edit`: images from text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from pinxit import console
from pinxit.cli.common import (
    Flag,
    Json,
    NumImages,
    Out,
    Quiet,
    RunFolder,
    check_at_least,
    check_suffix,
    load_model,
    load_named,
    print_result,
    slug,
)
from pinxit.cli.file_names import params_suffix, reranker_name, texts_slug
from pinxit.cli.options import Only
from pinxit.cli.terminal import save_stream
from pinxit.data.image_suffixes import IMAGE_SUFFIXES
from pinxit.errors import UsageError
from pinxit.models.generation import GUIDED, GenerationParams
from pinxit.nn.device import Device

if TYPE_CHECKING:
    from pinxit.models.protocols import CanDraw, CanEdit, HasText

Texts = Annotated[Positional[tuple[str, ...]], arg(metavar='"TEXT" ...')]
Text = Annotated[Positional[str], arg(metavar='"TEXT"')]
DrawParams = Annotated[GenerationParams, Only((*GUIDED, "reranker", "steps", "solver"))]
EditParams = Annotated[GenerationParams, Only((*GUIDED, "steps", "solver", "strength"))]
ImageName = Annotated[Positional[str], arg(metavar="IMAGE")]


def draw(
    run: RunFolder,
    texts: Texts,
    num_images: NumImages = 16,
    language: str | None = None,
    params: DrawParams = GenerationParams(),  # noqa: B008 (frozen)
    live: Flag = False,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Generate images from text.

    Examples:
        pinxit draw runs/shapes-draw "a large red star" "a small blue circle" -n 4
        pinxit draw runs/shapes-draw "a red star" --best-of 8 --reranker runs/captions

    Args:
        run: run folder
        texts: what the images show; each of several texts gets a row
        num_images: number of images of each text
        language: language of the texts (default: detected)
        params: options of generation
        live: show the images in the terminal while they are generated
        out: .png, .jpg or .webp for a grid, .npy for all pixels, .gif for the grid while it is
            generated (default: draw-*.png in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no notes
        json: print the path and the parameters as JSON
    """
    check_at_least(1, num_images, "--num-images")
    if not texts:
        raise UsageError('draw needs a "TEXT", for example: pinxit draw RUN "a small red circle"')
    path = check_suffix(out, *IMAGE_SUFFIXES, ".npy", ".gif")
    model: CanDraw = load_model(run, "draw", device)
    if not quiet:
        warn_of_unknown_words(model, texts)
    captions = [text for text in texts for _ in range(num_images)]
    stream = model.draw_stream(captions, params, language=language)
    path = path or run / f"{_draw_name(texts, num_images, language, params)}.png"
    save_stream(stream, path, live=live, columns=num_images if len(texts) > 1 else None)
    print_result(path, json, texts=texts, num_images=num_images, **_params_record(params))


def edit(
    run: RunFolder,
    image: ImageName,
    text: Text,
    num_images: NumImages = 1,
    language: str | None = None,
    params: EditParams = GenerationParams(),  # noqa: B008 (frozen)
    live: Flag = False,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Change an image as a text says.

    Examples:
        pinxit edit runs/shapes-edit circle.png "make the circle green"

    Args:
        run: run folder
        image: image file, or an image of the run's data before its edit, by name or number (0: the
            first test image)
        text: the instruction, for example "make the circle green"
        num_images: number of images; they differ if --temperature is above 0
        language: language of the text (default: detected)
        params: options of generation
        temperature: sampling temperature: 1 samples from the model, lower is less diverse, 0 takes
            the most likely (default: 0)
        live: show the image in the terminal while it is generated
        out: .png, .jpg, .webp, .npy for all pixels, .gif for the image while it is generated
            (default: edit-*.png in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no notes
        json: print the path and the parameters as JSON
    """
    check_at_least(1, num_images, "--num-images")
    path = check_suffix(out, *IMAGE_SUFFIXES, ".npy", ".gif")
    model: CanEdit = load_model(run, "edit", device)
    if not quiet:
        warn_of_unknown_words(model, (text,))
    import numpy as np

    before = load_named(run, (image,), quiet=quiet, sources=True).take(np.zeros(num_images, int))
    stream = model.edit_stream(before, [text] * num_images, params, language=language)
    path = path or run / f"{_edit_name(image, text, num_images, language, params)}.png"
    save_stream(stream, path, live=live)
    print_result(path, json, text=text, num_images=num_images, **_params_record(params))


def warn_of_unknown_words(model: HasText, texts: Sequence[str]) -> None:
    """Print the words that no training caption contains."""
    words = [word for text in texts for word in model.text_tokenizer.unknown_words(text)]
    if words:
        console.echo(f"warning: not in the training captions: {', '.join(dict.fromkeys(words))}")


def _draw_name(
    texts: Sequence[str], num_images: int, language: str | None, params: GenerationParams
) -> str:
    name = f"draw-{texts_slug(texts)}-n{num_images}"
    name += f"-{language}" if language else ""
    return name + params_suffix(params)


def _edit_name(
    image: str, text: str, num_images: int, language: str | None, params: GenerationParams
) -> str:
    name = f"edit-{slug(Path(image).stem)}-{texts_slug((text,))}"
    name += f"-n{num_images}" if num_images > 1 else ""
    name += f"-{language}" if language else ""
    return name + params_suffix(params)


def _params_record(params: GenerationParams) -> dict[str, Any]:
    """Return the parameters that were set, as JSON can hold them."""
    changed = params.overrides()
    return changed | ({"reranker": reranker_name(params.reranker)} if params.reranker else {})
