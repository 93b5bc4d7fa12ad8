"""`pinxit draw`, `edit`, `caption` and `translate`: images and words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pinxit.cli.common import (
    NumImages,
    Out,
    RunFolder,
    check_at_least,
    check_suffix,
    load_files,
    load_model,
    report_os_errors,
    slug,
    write_file,
)
from pinxit.cli.terminal import show_live
from pinxit.console import echo
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.data.images import Images

Texts = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar='"WORDS" ...')]
Text = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar='"WORDS"')]
File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
Flag = tyro.conf.FlagCreatePairsOff


def draw(
    run: RunFolder,
    texts: Texts,
    number: NumImages = 16,
    language: str | None = None,
    guidance: float = 1.0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    best_of: int = 1,
    reranker: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None,
    seed: int = 0,
    watch: Annotated[bool, Flag] = False,
    out: Out = None,
) -> None:
    """Images from words.

    Args:
        run: the run's folder
        texts: what the images are to show; of several texts each has its row
        number: how many images of each text
        language: of the words; told from them unless given
        guidance: above 1 follows the words more closely, 0 paints without them
        temperature: 1 as learned, below 1 plainer, 0 the likeliest
        top_k: draw from so many of the likeliest codes alone
        top_p: draw from the likeliest codes of so much probability together
        tries: paint each so often and keep the likeliest, or what the judge prefers
        judge: a run that captions images: kept is what it would most likely describe by the text
        seed: of the chance; image 7 of a seed is the same however many are drawn
        watch: show the images in the terminal as they grow
        out: .png for a grid, .npy for all pixels, .gif for the grid as it grows; else draw-*.png in
            the run's folder
    """
    check_at_least(1, number, "images of each text")
    if not texts:
        raise UsageError('say what to draw: pinxit draw RUN "a small red circle"')
    where = check_suffix(out, ".png", ".npy", ".gif")
    model = load_model(run, "draw")
    _warn(model, texts)
    growing = model.draw_stream(
        [text for text in texts for _ in range(number)],
        seed=seed,
        temperature=temperature,
        guidance=guidance,
        top_k=top_k,
        top_p=top_p,
        best_of=best_of,
        reranker=None if reranker is None else load_model(reranker, "caption"),
        language=language,
    )
    name = f"draw-{_short(texts)}-n{number}" + (f"-seed{seed}" if seed else "")
    name += f"-g{guidance:g}" if guidance != 1 else ""
    name += f"-t{temperature:g}" if temperature != 1 else ""
    name += f"-of{best_of}" if best_of != 1 else ""
    name += f"-judged-by-{slug(reranker.name)}" if reranker is not None else ""
    _painted(growing, where or run / f"{name}.png", watch, number if len(texts) > 1 else None)


def edit(
    run: RunFolder,
    image: File,
    text: Text,
    number: NumImages = 1,
    language: str | None = None,
    guidance: float = 1.0,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    best_of: int = 1,
    seed: int = 0,
    watch: Annotated[bool, Flag] = False,
    out: Out = None,
) -> None:
    """An image changed as words say.

    Args:
        run: the run's folder
        image: the image's file
        text: what is to be changed, as "make the circle green"
        number: how many images; with --temperature above 0 they differ
        language: of the words; told from them unless given
        guidance: above 1 follows the words more closely
        temperature: 0 the likeliest, 1 as learned
        top_k: draw from so many of the likeliest codes alone
        top_p: draw from the likeliest codes of so much probability together
        tries: paint each so often and keep the likeliest
        seed: of the chance
        watch: show the image in the terminal as it grows
        out: .png, .npy for all pixels, .gif for the image as it grows; else edit-*.png in the
            run's folder
    """
    check_at_least(1, number, "images")
    where = check_suffix(out, ".png", ".npy", ".gif")
    model = load_model(run, "edit")
    _warn(model, (text,))
    import numpy as np

    before = load_files(run, (image,)).take(np.zeros(number, int))
    growing = model.edit_stream(
        before,
        [text] * number,
        seed=seed,
        temperature=temperature,
        guidance=guidance,
        top_k=top_k,
        top_p=top_p,
        best_of=best_of,
        language=language,
    )
    name = f"edit-{slug(image.stem)}-{_short((text,))}" + (f"-seed{seed}" if seed else "")
    _painted(growing, where or run / f"{name}.png", watch, None)


def _warn(model: Any, texts: tuple[str, ...]) -> None:
    """Say which words the model cannot know."""
    strange = list(
        dict.fromkeys(word for text in texts for word in model.text_tokenizer.unknown_words(text))
    )
    if strange:
        echo(f"in no caption that the model learned from: {', '.join(strange)}; it can only guess.")


def _painted(growing: Iterator[Images], where: Path, watch: bool, columns: int | None) -> None:
    """Write what grows: the last of it, or all as an animation."""
    if where.suffix == ".gif":
        from pinxit.sampling.grids import progress_gif

        print(write_file(where, progress_gif(growing)))
        return
    if watch:
        images = show_live(growing)
    else:
        *_, images = growing
    if columns is not None and where.suffix == ".png":
        images = images.grid(columns)
    print(report_os_errors(where, images.save))


def _short(texts: tuple[str, ...]) -> str:
    first = slug(texts[0])[:40].strip("-.")
    return first if len(texts) == 1 else f"{first}-and-{len(texts) - 1}-more"
