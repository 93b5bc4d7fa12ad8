"""`pinxit draw`, `edit`, `caption` and `translate`: images and words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pinxit.cli.given import (
    Data,
    Number,
    Out,
    RunFolder,
    at_least,
    checked,
    files_of,
    images_of,
    model_of,
    names_of,
    plain,
    print_json,
    tried,
    written,
)
from pinxit.cli.watching import watched
from pinxit.data.progress import say
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.data.images import Images
    from pinxit.models.contract import Worded

Texts = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar='"WORDS" ...')]
Text = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar='"WORDS"')]
File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
Flag = tyro.conf.FlagCreatePairsOff


def draw(
    run: RunFolder,
    texts: Texts,
    number: Number = 16,
    language: str | None = None,
    guidance: float = 1.0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    tries: int = 1,
    judge: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None,
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
    at_least(1, number, "images of each text")
    if not texts:
        raise UsageError('say what to draw: pinxit draw RUN "a small red circle"')
    where = checked(out, ".png", ".npy", ".gif")
    model = model_of(run, "draw")
    _warn(model, texts)
    growing = model.drawing(
        [text for text in texts for _ in range(number)],
        seed=seed,
        temperature=temperature,
        guidance=guidance,
        top_k=top_k,
        top_p=top_p,
        tries=tries,
        judge=None if judge is None else model_of(judge, "caption"),
        language=language,
    )
    name = f"draw-{_short(texts)}-n{number}" + (f"-seed{seed}" if seed else "")
    name += f"-g{guidance:g}" if guidance != 1 else ""
    name += f"-t{temperature:g}" if temperature != 1 else ""
    name += f"-of{tries}" if tries != 1 else ""
    name += f"-judged-by-{plain(judge.name)}" if judge is not None else ""
    _painted(growing, where or run / f"{name}.png", watch, number if len(texts) > 1 else None)


def edit(
    run: RunFolder,
    image: File,
    text: Text,
    number: Number = 1,
    language: str | None = None,
    guidance: float = 1.0,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    tries: int = 1,
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
    at_least(1, number, "images")
    where = checked(out, ".png", ".npy", ".gif")
    model = model_of(run, "edit")
    _warn(model, (text,))
    import numpy as np

    before = files_of(run, (image,)).take(np.zeros(number, int))
    growing = model.editing(
        before,
        [text] * number,
        seed=seed,
        temperature=temperature,
        guidance=guidance,
        top_k=top_k,
        top_p=top_p,
        tries=tries,
        language=language,
    )
    name = f"edit-{plain(image.stem)}-{_short((text,))}" + (f"-seed{seed}" if seed else "")
    _painted(growing, where or run / f"{name}.png", watch, None)


def _warn(model: Any, texts: tuple[str, ...]) -> None:
    """Say which words the model cannot know."""
    strange = list(dict.fromkeys(word for text in texts for word in model.words.strange(text)))
    if strange:
        say(f"in no caption that the model learned from: {', '.join(strange)}; it can only guess.")


def _painted(growing: Iterator[Images], where: Path, watch: bool, columns: int | None) -> None:
    """Write what grows: the last of it, or all as an animation."""
    if where.suffix == ".gif":
        from pinxit.sampling.sheets import growing_grid

        print(written(where, growing_grid(growing)))
        return
    if watch:
        images = watched(growing)
    else:
        *_, images = growing
    if columns is not None and where.suffix == ".png":
        images = images.grid(columns)
    print(tried(where, images.save))


def caption(
    run: RunFolder,
    data: Data = (),
    language: str | None = None,
    number: Number = 8,
    count: int = 1,
    beams: int = 4,
    length_penalty: float = 0.6,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Images in words, with the log-probability of each text in nats.

    Args:
        run: the run's folder
        data: DATA or image files; without it the test split of the run's own data
        language: to write in; English unless given, or the first that the model knows
        number: images, at even distances over all
        count: texts of each image, the best first
        beams: texts that beam search keeps while they grow
        length_penalty: 0 prefers short texts, above 0 longer ones (Wu 2016)
        temperature: draw by chance in place of beam search: 1 as learned, 0 the likeliest piece
        top_k: draw from so many of the likeliest pieces alone
        top_p: draw from the likeliest pieces of so much probability together
        seed: of the chance
        json: print JSON
    """
    at_least(1, number, "images")
    at_least(1, count, "texts of each image")
    at_least(1, beams, "beams")
    if temperature is None and (top_k is not None or top_p is not None):
        raise UsageError("--top-k and --top-p are of chance: give a --temperature too.")
    model = model_of(run, "caption")
    from pinxit.models.seq2seq.directions import preferred
    from pinxit.sampling.inputs import spread

    language = language or preferred(model.words.languages)
    images = spread(images_of(model, run, data), number)
    found = model.caption(
        images,
        language=language,
        beams=max(beams, count),
        count=count,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        length_penalty=length_penalty,
    )
    named = list(zip(names_of(images), found, strict=True))
    if json:
        rows = [{"name": name, "captions": [_record(said) for said in row]} for name, row in named]
        print_json({"language": language, "images": rows})
        return
    for name, row in named:
        for said in row:
            print(f"{name}: {said.text}  ({said.log_prob:.2f})")


def translate(
    run: RunFolder,
    texts: Texts,
    source: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    target: Annotated[str | None, tyro.conf.arg(name="to")] = None,
    beams: int = 4,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Words in another language.

    Args:
        run: the run's folder
        texts: what to translate
        source: language of the words; told from them unless given
        target: language to write in; the other one, where the model knows two
        beams: texts that beam search keeps while they grow
        json: print JSON
    """
    at_least(1, beams, "beams")
    if not texts:
        raise UsageError('say what to translate: pinxit translate RUN "a red circle" --to fr')
    model = model_of(run, "translate")
    _warn(model, texts)
    read = source or model.words.language_of(" ".join(texts))
    target = target or _other(model, read)
    found = model.translate(texts, source=read, target=target, beams=beams)
    if json:
        rows = [{"source": text, **_record(said)} for text, said in zip(texts, found, strict=True)]
        print_json({"from": read, "to": target, "texts": rows})
        return
    for said in found:
        print(f"{said.text}  ({said.log_prob:.2f})")


def _other(model: Any, source: str) -> str:
    others = [name for name in model.words.languages if name != source]
    if len(others) != 1:
        raise UsageError(f"translate to which language? --to {' or --to '.join(others)}")
    return others[0]


def _record(said: Worded) -> dict[str, Any]:
    return {"text": said.text, "log_prob": round(said.log_prob, 4)}


def _short(texts: tuple[str, ...]) -> str:
    first = plain(texts[0])[:40].strip("-.")
    return first if len(texts) == 1 else f"{first}-and-{len(texts) - 1}-more"
