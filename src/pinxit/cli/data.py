"""`pinxit look` and `pinxit sources`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from pinxit.data.pictures import Pictures


def look(
    data: Annotated[Positional[tuple[str, ...]], arg(metavar="DATA")],
    number: Annotated[int, arg(aliases=("-n",))] = 64,
    size: str | None = None,
    fit: Literal["crop", "pad"] = "crop",
    color: Literal["auto", "grey", "rgb"] = "auto",
    language: str | None = None,
    limit: int | None = None,
    captions: str | None = None,
    seed: int = 0,
    strict: bool = False,
    out: Annotated[Path | None, arg(aliases=("-o",))] = None,
    json: bool = False,
) -> None:
    """A contact sheet of pictures, and what is known of them.

    Args:
        data: what `pinxit sources` lists, or picture files
        number: pictures on the sheet, taken at even distances
        size: 64, or 96x64 for width x height; without it chosen from the pictures
        fit: crop the middle out, or pad with the colour of the corners
        color: grey if every picture is, unless said
        language: of the captions under the pictures, such as fr
        limit: read so many pictures only, by chance of the seed
        captions: `labels` makes captions of labels by the shipped templates; or a file of templates
        seed: of what there is of chance
        strict: a picture that is left out is an error
        out: the sheet's PNG; without it look-<data>.png
        json: print what is known as JSON
    """
    from pinxit.data.load import load_pictures
    from pinxit.data.sheet import contact_sheet, spread, texts_under
    from pinxit.errors import UsageError

    if not data:
        raise UsageError("say what to look at: pinxit look DATA. See: pinxit sources")
    if number < 1:
        raise UsageError(f"a sheet has 1 picture or more, not {number}.")
    _check(out)
    pictures = load_pictures(
        data,
        size=size,
        fit=fit,
        color=color,
        limit=limit,
        captions=captions,
        seed=seed,
        strict=strict,
        progress=True,
    )
    shown = pictures[spread(len(pictures), number)]
    sheet = contact_sheet(shown, texts_under(shown, language))
    path = _write(out or Path(f"look-{_plain(pictures.source)}.png"), sheet)
    print(_as_json(pictures, path) if json else _as_text(pictures, path))


def sources(json: bool = False) -> None:
    """What DATA may be, with examples.

    Args:
        json: print the list as JSON
    """
    from pinxit.data.sources import kinds

    if json:
        print(_dumped([{"data": k.data, "says": k.says, "examples": k.examples} for k in kinds()]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("DATA", overflow="fold", max_width=28)
    table.add_column("what it is, and examples", overflow="fold")
    for kind in kinds():
        examples = " · ".join(kind.examples)
        table.add_row(kind.data, f"{kind.says}\n  such as  {examples}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(_own())


def _own() -> str:
    from pinxit.data.cache import cache_folder
    from pinxit.data.sources.named import data_folder

    folder = data_folder()
    return (
        f"PINXIT_DATA is {folder or 'not set'}. "
        f"Decoded pictures are kept in {cache_folder()} (PINXIT_CACHE)."
    )


def _write(path: Path, content: bytes) -> Path:
    from pinxit.data.files import write_atomically

    return write_atomically(path, content)


def _check(out: Path | None) -> None:
    from pinxit.errors import UsageError

    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"the sheet is a PNG: {out} should end in .png.")


def _plain(source: str) -> str:
    """A source's name as part of a file's name."""
    import re

    stem = re.sub(r"\.\w+$", "", source.rstrip("/").rsplit("/", 1)[-1])
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "pictures"


def counts(pictures: Pictures) -> dict[str, dict[str, int]]:
    """How many pictures each split and each label has."""
    from pinxit.data.pictures import SPLITS

    splits = {name: len(pictures.rows_of(name)) for name in SPLITS}
    labels = {}
    if pictures.labels is not None:
        for i, name in enumerate(pictures.label_names):
            labels[name] = int((pictures.labels == i).sum())
        if none := int((pictures.labels < 0).sum()):
            labels["(none)"] = none
    return {"splits": splits, "labels": labels}


def _as_text(pictures: Pictures, path: Path) -> str:
    return "\n".join([*_lines(pictures), str(path)])


def _lines(pictures: Pictures, most: int = 20) -> Iterator[str]:
    color = "grey" if pictures.channels == 1 else "colour"
    size = f"{pictures.width} x {pictures.height}"
    yield f"{pictures.source}: {_many(len(pictures), 'picture')} of {size}, {color}"
    for note in pictures.notes:
        yield f"  {note}"
    known = counts(pictures)
    yield "  splits: " + ", ".join(f"{k} {v:,}" for k, v in known["splits"].items())
    if known["labels"]:
        yield f"  labels ({len(pictures.label_names):,}): {_some(known['labels'], most)}"
    for language, captions in pictures.captions.items():
        has = sum(bool(caption) for caption in captions)
        example = next((caption for caption in captions if caption), "")
        yield f"  captions ({language}): {has:,}, such as “{example}”"
    if pictures.left_out:
        yield f"  left out: {len(pictures.left_out):,}"
        yield from (f"    {left.name}: {left.reason}" for left in pictures.left_out)


def _some(labels: dict[str, int], most: int) -> str:
    shown = ", ".join(f"{k} {v:,}" for k, v in list(labels.items())[:most])
    return shown + (f" and {len(labels) - most:,} more" if len(labels) > most else "")


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _as_json(pictures: Pictures, path: Path) -> str:
    return _dumped(
        {
            "source": pictures.source,
            "count": len(pictures),
            "height": pictures.height,
            "width": pictures.width,
            "channels": pictures.channels,
            **counts(pictures),
            "captions": {k: sum(map(bool, v)) for k, v in pictures.captions.items()},
            "left_out": [{"name": x.name, "reason": x.reason} for x in pictures.left_out],
            "notes": list(pictures.notes),
            "fingerprint": pictures.fingerprint,
            "sheet": str(path),
        }
    )


def _dumped(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
