"""`pinxit look` and `pinxit sources`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from pinxit.cli.common import (
    Json,
    NumImages,
    Out,
    check_at_least,
    check_suffix,
    data_slug,
    pluralize,
    write_file,
)
from pinxit.console import out as print_line
from pinxit.console import out_json, out_rich
from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.data.images import Images

MAX_LABELS_SHOWN = 20
MAX_SKIPPED_SHOWN = 20
MAX_KEYWORDS_SHOWN = 5


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
        print_line("\n".join([*_description_lines(images), str(path)]))


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


def describe(images: Images) -> dict[str, Any]:
    """Return what is known about images, for `look --json`."""
    from pinxit.data.annotations import describe_annotations
    from pinxit.data.keywords import count_keywords

    return {
        "source": images.source,
        "num_images": len(images),
        "height": images.height,
        "width": images.width,
        "channels": images.channels,
        "splits": images.count_splits(),
        "labels": count_labels(images),
        "captions": {
            language: sum(map(bool, captions)) for language, captions in images.captions.items()
        },
        "keywords": count_keywords(images),
        "annotations": describe_annotations(images),
        "files": images.file_counts,
        "skipped": [{"name": file.name, "reason": file.reason} for file in images.skipped],
        "notes": list(images.notes),
        "fingerprint": images.fingerprint,
    }


def count_labels(images: Images) -> dict[str, int]:
    """Return the number of images of each label, `(none)` last; {} for images without labels."""
    if images.labels is None:
        return {}
    counts = {name: int((images.labels == i).sum()) for i, name in enumerate(images.label_names)}
    unlabeled = int((images.labels < 0).sum())
    return counts | ({"(none)": unlabeled} if unlabeled else {})


def _description_lines(images: Images) -> Iterator[str]:
    from pinxit.data.annotations import describe_annotations
    from pinxit.data.skipped import files_without_names

    color = "grey" if images.channels == 1 else "RGB"
    size = f"{images.width} x {images.height}"
    yield f"{images.source}: {pluralize(len(images), 'image')}, {size}, {color}"
    for note in images.notes:
        yield f"  {note}"
    yield f"  {describe_annotations(images)}"
    if images.file_counts:
        yield f"  files: {_join_counts(images.file_counts)}"
    yield f"  splits: {_join_counts(images.count_splits())}"
    if labels := count_labels(images):
        yield f"  labels ({len(images.label_names):,}): {_join_counts(labels)}"
    for language, captions in images.captions.items():
        count = sum(bool(caption) for caption in captions)
        example = next((caption for caption in captions if caption), "")
        yield f'  captions ({language}): {count:,}, for example "{example}"'
    for language, keywords in images.keywords.items():
        example = ", ".join(next(filter(None, keywords), ())[:MAX_KEYWORDS_SHOWN])
        count = pluralize(sum(map(bool, keywords)), "image")
        yield f'  keywords ({language}): {count}, for example "{example}"'
    if unnamed := files_without_names(images.skipped):
        yield f"  skipped: {len(images.skipped):,}, of which the lines above do not name"
        shown = unnamed[:MAX_SKIPPED_SHOWN]
        yield from (f"    {file.name}: {file.reason}" for file in shown)
        if len(shown) < len(unnamed):
            yield f"    and {len(unnamed) - len(shown):,} more; --json lists all"


def _join_counts(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {n:,}" for name, n in list(counts.items())[:MAX_LABELS_SHOWN])
    hidden = len(counts) - MAX_LABELS_SHOWN
    return shown + (f" and {hidden:,} more" if hidden > 0 else "")
