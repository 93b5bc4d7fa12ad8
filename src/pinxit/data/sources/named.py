"""Well-known datasets by name: in the folder `$PINXIT_DATA`, else from the Hugging Face Hub."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pinxit.data.home_folder import expand_home
from pinxit.data.records import Source, SourceType
from pinxit.data.sources import list_source_types, open_source
from pinxit.data.sources.hub import hub_source
from pinxit.data.sources.idx import has_idx_files, idx_folder
from pinxit.errors import PinxitError
from pinxit.extras import MissingExtraError, is_extra_installed

SUFFIXES = (".npz", ".npy", ".parquet", ".tar")  # of files in `$PINXIT_DATA` that have a name


@dataclass(frozen=True)
class NamedSet:
    """Locations of a dataset, and its class names."""

    files: tuple[str, ...]  # in `$PINXIT_DATA`: the first that exists
    hub: str | None = None  # owner/name
    label_names: tuple[str, ...] = ()  # if its files have numbers only


FASHION_MNIST_LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
NAMED_SETS = {
    "mnist": NamedSet(("mnist",), "ylecun/mnist"),
    "fashion-mnist": NamedSet(
        ("fashion-mnist",), "zalando-datasets/fashion_mnist", FASHION_MNIST_LABELS
    ),
    "mnist-static": NamedSet(("mnist-static.npz", "mnist-static-binary.npz")),
    "omniglot": NamedSet(("omniglot.npz", "omniglot28.npz")),
    "cifar10": NamedSet(("cifar10.parquet", "cifar10", "cifar10-jpeg.parquet"), "uoft-cs/cifar10"),
    "emoji": NamedSet(("emoji.parquet", "emoji-noto.parquet")),
    "emoji-blob": NamedSet(("emoji-blob.parquet",)),
    "clothing": NamedSet(("clothing.parquet",)),
}


def data_folder() -> Path | None:
    """`$PINXIT_DATA`: the folder of downloaded datasets."""
    folder = os.environ.get("PINXIT_DATA")
    return expand_home(folder) if folder else None


def list_names() -> tuple[str, ...]:
    """Return the names of the well-known sets and of the files in `$PINXIT_DATA`.

    A file whose name is that of a built-in set does not have it.
    """
    folder = data_folder()
    file_names = _file_names(folder) if folder and folder.is_dir() else ()
    built_in = _list_built_in_names()
    own = (name for name in file_names if name.partition(":")[0] not in built_in)
    return tuple(dict.fromkeys((*NAMED_SETS, *own)))


def _list_built_in_names() -> set[str]:
    """Return the names of the other types of sources; some take a number, as `shapes:100`."""
    types = (source_type for source_type in list_source_types() if source_type is not SOURCE_TYPE)
    return {name for source_type in types for name in source_type.list_names()}


def find_same_name(name: str) -> Path | None:
    """Return the file in `$PINXIT_DATA` that has the name of a built-in set, or None."""
    if "/" in name or name.partition(":")[0] not in _list_built_in_names():
        return None
    return _find_local(_as_named_set(name))


def _file_names(folder: Path) -> Iterable[str]:
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and entry.suffix in SUFFIXES:
            yield entry.stem


def open_named_set(data: str, seed: int) -> Source | None:
    if "/" in data or data not in list_names():
        return None
    named = NAMED_SETS.get(data) or _as_named_set(data)
    path = _find_local(named)
    if path is not None:
        return _open_local(data, path, named)
    if named.hub is None:
        raise PinxitError(_describe_missing(data, named))
    missing = _describe_missing(data, named)
    if not is_extra_installed("hub"):
        raise MissingExtraError("hub", f"{missing} The download", "datasets")
    return replace(hub_source(named.hub, None, offline_message=missing), name=data)


def _as_named_set(name: str) -> NamedSet:
    """Return the locations of a set that only a file in `$PINXIT_DATA` has the name of."""
    return NamedSet(tuple(f"{name}{suffix}" for suffix in SUFFIXES))


def find_named_set(name: str) -> Path:
    """Return the file or folder of a well-known set. Raises PinxitError if it is missing."""
    path = _find_local(NAMED_SETS[name])
    if path is None:
        raise PinxitError(_describe_missing(name, NAMED_SETS[name]))
    return path


def _find_local(named: NamedSet) -> Path | None:
    folder = data_folder()
    paths = [folder / name for name in named.files] if folder else []
    return next((path for path in paths if path.exists()), None)


def _open_local(data: str, path: Path, named: NamedSet) -> Source:
    if named.label_names and has_idx_files(path):
        return idx_folder(data, path, named.label_names)
    return replace(open_source(path.absolute()), name=data)


def _describe_missing(data: str, named: NamedSet) -> str:
    folder = data_folder()
    where = "the folder that PINXIT_DATA names" if folder is None else f"{folder} (PINXIT_DATA)"
    files = " or ".join(named.files)
    if named.hub is None:
        return f"'{data}' is not on this machine and not on the Hub: put {files} in {where}."
    return (
        f"'{data}' is not on this machine: put {files} in {where}, "
        f"or download it from huggingface.co/datasets/{named.hub} with a network."
    )


SOURCE_TYPE = SourceType(
    pattern="a well-known name",
    description="mnist, fashion-mnist, cifar10, omniglot, emoji, emoji-blob, clothing, "
    "mnist-static: from the folder $PINXIT_DATA, else from the Hub. Other files in that folder "
    "have their name, too.",
    examples=("mnist", "fashion-mnist", "emoji"),
    open=open_named_set,
    list_names=list_names,
    find_same_name=find_same_name,
    match_order=0,
)
