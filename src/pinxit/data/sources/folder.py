"""A folder of images, by the conventions of `imagefolder` (`datasets`, torchvision).

Subfolders are labels if the metadata has none, or splits if they are named `train`, `validation`
(`val`) or `test`, at any level. Captions, keywords, labels, splits and groups are in
`metadata.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet`, by `file_name`; captions also in a `.txt`
file next to each image, one on each line. Every other file is skipped with a reason.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from pinxit.console import pluralize
from pinxit.data.captions import separate_first
from pinxit.data.formats import READABLE
from pinxit.data.home_folder import expand_home
from pinxit.data.imagefolder.descriptions import Description, Descriptions
from pinxit.data.imagefolder.image_index import ImageIndex
from pinxit.data.imagefolder.levels import find_levels
from pinxit.data.imagefolder.listing import Listing, contains_image, list_folder
from pinxit.data.records import Listed, Note, Record, Source, SourceType, hash_files
from pinxit.data.skipped import summarize_skipped, without_system_files
from pinxit.errors import UsageError


def open_folder(data: str, seed: int) -> Source | None:
    root = expand_home(data)
    if not root.is_dir():
        return None

    @functools.cache
    def listing() -> Listing:
        files = list_folder(root)
        if not files.images:
            raise UsageError(_describe_empty(data, files))
        return files

    def compute_key() -> str:
        files = listing()
        names = [*files.images, *files.metadata, *files.texts]
        return hash_files(root, [root / name for name in names])

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            compute_key,
            lambda: _list_records(root, listing(), group_by),
            list_unused=lambda: listing().skipped,
            with_groups=with_groups,
            counts_files=True,
        )

    return with_groups("auto")


def _describe_empty(data: str, files: Listing) -> str:
    lines = summarize_skipped(without_system_files(files.skipped))
    return f"no images in {data} ({READABLE}){': ' + '; '.join(lines[:3]) if lines else ''}."


def has_images(root: Path) -> bool:
    """Return whether a folder, or one of its subfolders, contains image files."""
    return contains_image(root)


def _list_records(root: Path, listing: Listing, group_by: str) -> Iterator[Listed]:
    described = Descriptions(ImageIndex(listing.images, root.resolve().name), group_by)
    for name in listing.metadata:
        yield from described.read_metadata(root, name)
    for name in listing.texts:
        yield from described.read_captions(root, name)
    yield from described.list_notes()

    with_split = {image for image, known in described.by_image.items() if known.split}
    levels = find_levels(listing.images, with_split)
    yield from map(Note, levels.notes)
    own_labels = {image: known.label for image, known in described.by_image.items() if known.label}
    by_folder = {} if own_labels else levels.labels
    if own_labels:
        yield from _note_unused_folders(own_labels, levels.labels)
    num_contradicted = 0
    for name in listing.images:
        known = described.by_image.get(name) or Description()
        first, more = separate_first(known.captions)
        folder_split = levels.splits.get(name)
        num_contradicted += folder_split is not None and known.split not in (None, folder_split)
        yield Record(
            name,
            (root / name).read_bytes,
            label=known.label or by_folder.get(name),
            captions=first,
            more_captions=more,
            keywords=known.keywords,
            split=known.split or folder_split,
            group=known.group,
            file=root / name,
        )
    if num_contradicted:
        yield Note(
            f"{num_contradicted:,} images are in the split of their metadata, not of their folder"
        )


def _note_unused_folders(labels: Mapping[str, str], by_folder: Mapping[str, str]) -> Iterator[Note]:
    """Yield a note if folders would give other labels than the metadata."""
    number = sum(image not in labels for image in by_folder)
    if number or any(labels.get(image) != name for image, name in by_folder.items()):
        rest = f"; {pluralize(number, 'image')} in folders without a label" if number else ""
        yield Note(f"folders are not labels, as the metadata has labels{rest}")


SOURCE_TYPE = SourceType(
    pattern="FOLDER/",
    description="Images. Subfolders are labels, if the metadata has none, or splits if they are "
    "named train, validation and test. Captions: metadata.jsonl, .csv or .parquet with file_name "
    "and caption (caption_en, caption_fr), or a .txt file next to each image, with a caption on "
    "each line. Columns keywords or tags (tags_en) are lists, or texts with a separator.",
    examples=("photos/", "~/glyphs"),
    open=open_folder,
    match_order=2,
)
