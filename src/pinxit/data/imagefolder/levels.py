"""Find the folders that are splits and those that are labels, at whatever level they are.

Folders beside one another are splits if all of them are named so, or if one of them is named as a
test or validation split: those images are never trained on. `train/` among folders of other names
is a label. The label of an image is its innermost folder; folders that all images share, such as
`images/` within each class, are not labels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pinxit.console import pluralize
from pinxit.data.imagefolder.split_words import read_split_name
from pinxit.data.split_names import SPLITS
from pinxit.data.splits import split_from_filename

Folder = tuple[str, ...]

MAX_NAMES = 5  # that a note lists
_HELD_OUT_FIRST = SPLITS[::-1]  # `train` comes last
_CONTAINER_WORDS = (
    "image images img imgs picture pictures photo photos frames files data raw png jpg jpeg "
    "jpegimages"
)
_CONTAINERS = frozenset(_CONTAINER_WORDS.split())


@dataclass
class Levels:
    """The splits and labels of images that the names of their folders give."""

    splits: dict[str, str] = field(default_factory=dict)  # by image
    labels: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Siblings:
    """The folders with images that lie in one folder, and whether images lie beside them."""

    names: dict[str, None] = field(default_factory=dict)  # a set in order
    num_loose: int = 0


def find_levels(images: Sequence[str], with_split: Collection[str] = ()) -> Levels:
    """Return the splits and labels of images, given by their paths, and notes on what was found.

    Images `with_split` have a split of their own.
    """
    folders = {image: tuple(image.split("/")[:-1]) for image in images}
    tree = _list_siblings(folders.values())
    levels = Levels()
    accepted: dict[Folder, dict[str, str]] = {}  # splits by folder and name
    for parent, siblings in tree.items():
        accepted[parent] = _accept_splits(parent, siblings, levels.notes)
    for image, folder in folders.items():
        if split := _choose_split(_splits_of(folder, accepted)):
            levels.splits[image] = split
    others = {image: folder for image, folder in folders.items() if image not in with_split}
    levels.notes += [*_note_splits(others, levels.splits), *_note_nested(folders, accepted)]
    labels = {image: _label_folders(folder, accepted, tree) for image, folder in folders.items()}
    levels.labels = _innermost(labels, levels.notes)
    return levels


def _list_siblings(folders: Iterable[Folder]) -> dict[Folder, _Siblings]:
    tree: dict[Folder, _Siblings] = {}
    for folder in folders:
        tree.setdefault(folder, _Siblings()).num_loose += 1
        for depth in range(len(folder)):
            siblings = tree.setdefault(folder[:depth], _Siblings())
            siblings.names[folder[depth]] = None
    return tree


# -- splits ----------------------------------------------------------------------------------------


def _accept_splits(parent: Folder, siblings: _Siblings, notes: list[str]) -> dict[str, str]:
    """Return the split of each folder that is one; notes name those that only look so."""
    found = {name: read_split_name(name) for name in siblings.names}
    named = {name: word.split for name, word in found.items() if word.split}
    plain = {name: split for name, split in named.items() if found[name].is_plain}
    others = [name for name in siblings.names if name not in plain]
    if len(named) == len(found) and len(set(named.values())) > 1 and not siblings.num_loose:
        return named  # `train_march` and `test_march`
    is_complete = not others and not siblings.num_loose
    if plain and (is_complete or set(plain.values()) != {"train"}):
        return plain
    if named:
        notes.append(
            f"{_join(parent, list(named))} is not read as a split: what lies beside it is none"
            if plain
            else f"{_join(parent, list(named))} is read as a label, not as a split"
        )
    return {}


def _join(parent: Folder, names: list[str]) -> str:
    """`a/train/, a/test/ and 3 more`."""
    shown = ", ".join("/".join([*parent, name]) + "/" for name in names[:MAX_NAMES])
    return shown + (f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else "")


def _splits_of(folder: Folder, accepted: dict[Folder, dict[str, str]]) -> list[tuple[str, int]]:
    """Return the split that each folder of an image names, and how many stand at its level."""
    levels = [(accepted[folder[:depth]], name) for depth, name in enumerate(folder)]
    return [(level[name], len(set(level.values()))) for level, name in levels if name in level]


def _choose_split(found: Sequence[tuple[str, int]]) -> str | None:
    """Return the split of an image: of several, a held-out one.

    Folders around the first level that has several splits do not count: `test/` around `train/` and
    `val/` is the name of a set.
    """
    first = next((i for i, (_, count) in enumerate(found) if count > 1), 0)
    splits = {split for split, _ in found[first:]}
    return next((split for split in _HELD_OUT_FIRST if split in splits), None)


def _note_nested(folders: dict[str, Folder], accepted: dict[Folder, dict[str, str]]) -> list[str]:
    """Return a note if a folder of one split lies in a folder of another."""
    nested: dict[str, str] = {}
    trained_on: dict[Folder, str] = {}  # by what seems held out: an example of each is named
    for folder in dict.fromkeys(folders.values()):
        found = _splits_of(folder, accepted)
        if len({split for split, _ in found}) < 2:
            continue
        name, split = "/".join(folder) + "/", str(_choose_split(found))
        nested[name] = split
        if split == "train":
            seem_held_out = tuple(
                p for p in folder if read_split_name(p).split not in (None, split)
            )
            trained_on.setdefault(seem_held_out, name)
    if not nested:
        return []
    first = dict.fromkeys([*trained_on.values(), *nested])
    count = max(MAX_NAMES, len(trained_on))
    shown = ", ".join(f"{name} ({nested[name]})" for name in list(first)[:count])
    rest = f" and {len(nested) - count:,} more" if len(nested) > count else ""
    return [f"folders of one split are in another: {shown}{rest}"]


def _note_splits(folders: dict[str, Folder], splits: dict[str, str]) -> Iterator[str]:
    """Yield notes on images that have no split where others have, and on splits in file names."""
    without = {image: folder for image, folder in folders.items() if image not in splits}
    if splits and not without and "train" not in splits.values():
        names = ", ".join(sorted(set(splits.values())))
        yield f"no image to train on: all are in folders of the split {names}"
    if splits and without:
        others = dict.fromkeys(without.values())
        named = [folder for folder in others if any(read_split_name(p).split for p in folder)]
        count = max(MAX_NAMES, len(named))  # those that could be meant as splits are all shown
        first = list(dict.fromkeys([*named, *others]))[:count]
        names = ", ".join("/".join([*folder, ""]) or "the top folder" for folder in first)
        rest = f" and {len(others) - count:,} more" if len(others) > count else ""
        number = pluralize(len(without), "image")
        yield f"{number} in no folder of a split, so trained on: in {names}{rest}"
    if not splits:
        found = {split_from_filename(image.rpartition("/")[2]) for image in folders} - {None}
        if len(found) > 1:
            names = ", ".join(sorted(filter(None, found)))
            yield (
                f"file names begin with {names}: splits are not read from file names, but from "
                "folders, or a column `split` in metadata.csv"
            )


# -- labels ----------------------------------------------------------------------------------------


def _label_folders(
    folder: Folder, accepted: dict[Folder, dict[str, str]], tree: dict[Folder, _Siblings]
) -> Folder:
    """Return the folders of an image without splits, and without a mere container at the end."""
    parent = tree.get(folder[:-1]) if folder else None
    is_container = (
        parent is not None
        and len(folder) > 1
        and folder[-1].lower() in _CONTAINERS
        and len(parent.names) == 1
        and not parent.num_loose
    )
    depths = range(len(folder) - is_container)
    return tuple(folder[i] for i in depths if folder[i] not in accepted[folder[:i]])


def _innermost(folders: dict[str, Folder], notes: list[str]) -> dict[str, str]:
    """Return the innermost folder of each image that is not the same for all, if they differ."""
    folders = {image: folder for image, folder in folders.items() if folder}
    while len({folder[-1] for folder in folders.values()}) == 1 and len(set(folders.values())) > 1:
        folders = {image: folder[:-1] for image, folder in folders.items() if folder[:-1]}
    labels = {image: folder[-1] for image, folder in folders.items()}
    if len(set(labels.values())) < 2:
        return {}
    outer = sorted({folder[-2] for folder in folders.values() if len(folder) > 1})
    if len(outer) > 1:
        names = ", ".join(outer[:MAX_NAMES]) + (", ..." if len(outer) > MAX_NAMES else "")
        notes.append(f"labels are the innermost folders; those around them are not used: {names}")
    return labels
