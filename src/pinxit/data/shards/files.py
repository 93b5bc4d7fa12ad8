"""The files of a folder of shards: which are read, their splits, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pinxit.data.imagefolder.listing import list_folder
from pinxit.data.imagefolder.split_words import read_split_name
from pinxit.data.shards.manifest import LOCK, MANIFEST
from pinxit.data.skipped import SkippedFile, is_system_folder
from pinxit.data.splits import split_from_filename


def find_shards(root: Path, suffix: str) -> list[Path]:
    """Return the files with a suffix in a folder and its subfolders, sorted; no hidden ones."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() == suffix
        and path.is_file()
        and not any(
            part.startswith(".") or is_system_folder(part) for part in path.relative_to(root).parts
        )
    )


def list_beside(root: Path, shards: Sequence[Path]) -> list[SkippedFile]:
    """Return the files in a folder of shards that are neither shards nor made by `pinxit shard`."""
    listing = list_folder(root)
    used = {shard.relative_to(root).as_posix() for shard in shards}
    if (root / MANIFEST).is_file():
        used |= {MANIFEST, LOCK}
    names = (*listing.images, *listing.metadata, *listing.texts)
    beside = [SkippedFile(name, "beside the shards") for name in names if name not in used]
    return [*beside, *(file for file in listing.skipped if file.name not in used)]


def splits_of_shards(root: Path, shards: Sequence[Path]) -> tuple[list[str | None], list[str]]:
    """Return the split that the path of each shard names, and notes.

    A name that begins with a split names it, as in `train-00000-of-00002.parquet`; so do folders.
    Other names with the word, as `mnist-test-0.tar`, do so if the shards have several splits.
    """
    plain = [_read_plain(root, shard) for shard in shards]
    found = [
        split or read_split_name(shard.stem).split
        for split, shard in zip(plain, shards, strict=True)
    ]
    if len(set(found) - {None}) > 1:
        return found, []
    return plain, list(_note_unused(shards, plain, found))


def _read_plain(root: Path, shard: Path) -> str | None:
    if split := split_from_filename(shard.name):
        return split
    for part in (shard.stem, *shard.relative_to(root).parent.parts[::-1]):
        word = read_split_name(part)
        if word.is_plain:
            return word.split
    return None


def _note_unused(
    shards: Sequence[Path], plain: Sequence[str | None], found: Sequence[str | None]
) -> Iterator[str]:
    unused = [i for i, split in enumerate(found) if split and not plain[i]]
    if unused:
        first = shards[unused[0]].name
        yield f"{first}: its name contains '{found[unused[0]]}', but is not used as a split"
