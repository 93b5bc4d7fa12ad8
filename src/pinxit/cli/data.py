"""`pinxit look` and `pinxit sources`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pinxit.cli.common import (
    Json,
    NumImages,
    Out,
    check_at_least,
    check_suffix,
    data_slug,
    write_file,
)
from pinxit.console import out as print_line
from pinxit.console import out_json, out_rich
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError


def look(
    data: Annotated[Positional[tuple[str, ...]], arg(metavar="DATA")],
    num_images: NumImages = 64,
    load: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
    language: str | None = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Describe a dataset, and write a contact sheet of its images.

    Examples:
        pinxit look photos/
        pinxit look shapes:64 -n 16 --language fr --out shapes.png

    Args:
        data: a source (see: pinxit sources), or image files
        num_images: maximum number of images on the sheet, evenly spaced over the dataset
        load: options of loading images
        language: language of the captions on the sheet, such as fr (default: the first)
        out: PNG file of the sheet (default: look-DATA.png)
        json: print the description as JSON
    """
    from pinxit.data.contact_sheet import cell_texts, contact_sheet
    from pinxit.data.description import describe, description_lines
    from pinxit.data.load import read_images

    if not data:
        raise UsageError("name the DATA to look at: pinxit look DATA. See: pinxit sources")
    check_at_least(1, num_images, "--num-images")
    check_suffix(out, ".png")
    images = read_images(data, load)  # the description has its notes
    shown = images.evenly_spaced(num_images)
    sheet = contact_sheet(shown, cell_texts(shown, language))
    path = write_file(out or Path(f"look-{data_slug(data)}.png"), sheet)
    if json:
        out_json(describe(images) | {"sheet": str(path)})
    else:
        print_line("\n".join([*description_lines(images), str(path)]))


def sources(json: Json = False) -> None:
    """List what DATA can be, with examples.

    Examples:
        pinxit sources

    Args:
        json: print the list as JSON
    """
    from pinxit.data.sources import list_source_types

    if json:
        out_json(
            [
                {"pattern": t.pattern, "description": t.description, "examples": t.examples}
                for t in list_source_types()
            ]
        )
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("DATA", overflow="fold", max_width=28)
    table.add_column("description and examples", overflow="fold")
    for source_type in list_source_types():
        examples = "   ".join(source_type.examples)
        table.add_row(source_type.pattern, f"{source_type.description}\n  {examples}")
    out_rich(table, "", _folders())


def _folders() -> str:
    from pinxit.data.cache import cache_dir
    from pinxit.data.sources.named import data_folder

    return (
        f"PINXIT_DATA is {data_folder() or 'not set'}. "
        f"Decoded images are cached in {cache_dir()} (PINXIT_CACHE)."
    )
