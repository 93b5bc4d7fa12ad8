"""`pinxit look` and `pinxit sources`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from pinxit.data.images import Images


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
    """A contact sheet of images, and what is known of them.

    Args:
        data: what `pinxit sources` lists, or image files
        number: images on the sheet, taken at even distances
        size: 64, or 96x64 for width x height; without it chosen from the images
        fit: crop the middle out, or pad with the colour of the corners
        color: grey if every image is, unless said
        language: of the captions under the images, such as fr
        limit: read so many images only, by chance of the seed
        captions: `labels` makes captions of labels by the shipped templates; or a file of templates
        seed: of what there is of chance
        strict: an image that is left out is an error
        out: the sheet's PNG; without it look-<data>.png
        json: print what is known as JSON
    """
    from pinxit.data.contact_sheet import cell_texts, contact_sheet, evenly_spaced_indices
    from pinxit.data.load import load_images
    from pinxit.errors import UsageError

    if not data:
        raise UsageError("say what to look at: pinxit look DATA. See: pinxit sources")
    if number < 1:
        raise UsageError(f"a sheet has 1 image or more, not {number}.")
    _check(out)
    images = load_images(
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
    shown = images[evenly_spaced_indices(len(images), number)]
    sheet = contact_sheet(shown, cell_texts(shown, language))
    path = _write(out or Path(f"look-{_plain(images.source)}.png"), sheet)
    print(_as_json(images, path) if json else _as_text(images, path))


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
    from pinxit.data.cache import cache_dir
    from pinxit.data.sources.named import data_folder

    folder = data_folder()
    return (
        f"PINXIT_DATA is {folder or 'not set'}. "
        f"Decoded images are kept in {cache_dir()} (PINXIT_CACHE)."
    )


def _write(path: Path, content: bytes) -> Path:
    from pinxit.data.atomic_write import write_atomically

    return write_atomically(path, content)


def _check(out: Path | None) -> None:
    from pinxit.errors import UsageError

    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"the sheet is a PNG: {out} should end in .png.")


def _plain(source: str) -> str:
    """A source's name as part of a file's name."""
    import re

    stem = re.sub(r"\.\w+$", "", source.rstrip("/").rsplit("/", 1)[-1])
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "images"


def counts(images: Images) -> dict[str, dict[str, int]]:
    """How many images each split and each label has."""
    from pinxit.data.images import SPLITS

    splits = {name: len(images.split_indices(name)) for name in SPLITS}
    labels = {}
    if images.labels is not None:
        for i, name in enumerate(images.label_names):
            labels[name] = int((images.labels == i).sum())
        if none := int((images.labels < 0).sum()):
            labels["(none)"] = none
    return {"splits": splits, "labels": labels}


def _as_text(images: Images, path: Path) -> str:
    return "\n".join([*_lines(images), str(path)])


def _lines(images: Images, most: int = 20) -> Iterator[str]:
    color = "grey" if images.channels == 1 else "colour"
    size = f"{images.width} x {images.height}"
    yield f"{images.source}: {_many(len(images), 'image')} of {size}, {color}"
    for note in images.notes:
        yield f"  {note}"
    known = counts(images)
    yield "  splits: " + ", ".join(f"{k} {v:,}" for k, v in known["splits"].items())
    if known["labels"]:
        yield f"  labels ({len(images.label_names):,}): {_some(known['labels'], most)}"
    for language, captions in images.captions.items():
        has = sum(bool(caption) for caption in captions)
        example = next((caption for caption in captions if caption), "")
        yield f"  captions ({language}): {has:,}, such as “{example}”"
    if images.skipped:
        yield f"  left out: {len(images.skipped):,}"
        yield from (f"    {left.name}: {left.reason}" for left in images.skipped)


def _some(labels: dict[str, int], most: int) -> str:
    shown = ", ".join(f"{k} {v:,}" for k, v in list(labels.items())[:most])
    return shown + (f" and {len(labels) - most:,} more" if len(labels) > most else "")


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def _as_json(images: Images, path: Path) -> str:
    return _dumped(
        {
            "source": images.source,
            "count": len(images),
            "height": images.height,
            "width": images.width,
            "channels": images.channels,
            **counts(images),
            "captions": {k: sum(map(bool, v)) for k, v in images.captions.items()},
            "skipped": [{"name": x.name, "reason": x.reason} for x in images.skipped],
            "notes": list(images.notes),
            "fingerprint": images.fingerprint,
            "sheet": str(path),
        }
    )


def _dumped(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
