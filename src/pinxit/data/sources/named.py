"""Well-known sets by name: under `$PINXIT_DATA`, else from the hub through `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pinxit.console import echo
from pinxit.data.records import Kind, Source
from pinxit.errors import PinxitError

FILES = (".npz", ".npy", ".parquet", ".tar")


@dataclass(frozen=True)
class WellKnown:
    """Where a set is found."""

    files: tuple[str, ...]  # below `$PINXIT_DATA`, the first that is there
    hub: str | None = None  # owner/name
    label_names: tuple[str, ...] = ()  # where its files have numbers only


CLOTHES = (
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
SETS = {
    "mnist": WellKnown(("mnist",), "ylecun/mnist"),
    "fashion-mnist": WellKnown(
        ("fashion-mnist",),
        "zalando-datasets/fashion_mnist",
        CLOTHES,
    ),
    "mnist-static": WellKnown(("mnist-static.npz", "mnist-static-binary.npz")),
    "omniglot": WellKnown(("omniglot.npz", "omniglot28.npz")),
    "cifar10": WellKnown(("cifar10.parquet", "cifar10", "cifar10-jpeg.parquet"), "uoft-cs/cifar10"),
    "emoji": WellKnown(("emoji.parquet", "emoji-noto.parquet")),
    "clothing": WellKnown(("clothing.parquet",)),
}


def data_folder() -> Path | None:
    """`$PINXIT_DATA`, where sets that have been fetched are kept."""
    folder = os.environ.get("PINXIT_DATA")
    return Path(folder).expanduser() if folder else None


def names() -> tuple[str, ...]:
    """Every name that is known, and every one that `$PINXIT_DATA` adds."""
    folder = data_folder()
    own = _names_in(folder) if folder and folder.is_dir() else ()
    return (*SETS, *(name for name in own if name not in SETS))


def _names_in(folder: Path) -> Iterable[str]:
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and entry.suffix in FILES:
            yield entry.stem


def find(text: str, seed: int) -> Source | None:
    if "/" in text or text not in names():
        return None
    if Path(text).is_dir():
        echo(f"{text}: the well-known set; the folder here is ./{text}")
    known = SETS.get(text, WellKnown(tuple(f"{text}{suffix}" for suffix in FILES)))
    path = _on_disk(known)
    if path is not None:
        return _opened(text, path, known)
    if known.hub is None:
        raise PinxitError(_missing(text, known))
    return _from_hub(text, known)


def on_disk(name: str) -> Path:
    """The file or folder of a well-known set. Raises PinxitError where it is not there."""
    path = _on_disk(SETS[name])
    if path is None:
        raise PinxitError(_missing(name, SETS[name]))
    return path


def _on_disk(known: WellKnown) -> Path | None:
    folder = data_folder()
    found = [folder / name for name in known.files] if folder else []
    return next((path for path in found if path.exists()), None)


def _opened(text: str, path: Path, known: WellKnown) -> Source:
    from pinxit.data.sources import open_source
    from pinxit.data.sources.idx import idx_folder

    if path.is_dir() and known.label_names and any(path.glob("*images*idx3-ubyte*")):
        return idx_folder(text, path, known.label_names)
    return replace(open_source(path.absolute()), text=text)


def _from_hub(text: str, known: WellKnown) -> Source:
    from pinxit.data.sources.hub import hub_source

    return replace(hub_source(known.hub or "", None, otherwise=_missing(text, known)), text=text)


def _missing(text: str, known: WellKnown) -> str:
    where = f"put {' or '.join(known.files)} in the folder that PINXIT_DATA names"
    if data_folder() is not None:
        where = f"put {' or '.join(known.files)} in {data_folder()} (PINXIT_DATA)"
    if known.hub is None:
        return f"'{text}' is not on this machine, and not on the hub: {where}."
    return (
        f"'{text}' is not on this machine: {where}, "
        f"or let it be fetched from huggingface.co/datasets/{known.hub} with a network."
    )


KIND = Kind(
    data="a well-known name",
    says="mnist, fashion-mnist, cifar10, omniglot, emoji, clothing, mnist-static: from the folder "
    "that PINXIT_DATA names, else from the hub. Other files in that folder go by name too.",
    examples=("mnist", "fashion-mnist", "emoji"),
    find=find,
    names=names,
    rank=0,
)
