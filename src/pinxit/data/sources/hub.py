"""`hf:owner/name[:split]`: a set from the Hugging Face hub, through `datasets`.

`datasets` fetches the files and verifies them; the images are decoded as all others are.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinxit.data.atomic_write import write_atomically
from pinxit.data.cache import cache_dir
from pinxit.data.captions import parse_captions
from pinxit.data.decode import UnreadableImage
from pinxit.data.records import Kind, Record, Source
from pinxit.data.splits import parse_split
from pinxit.errors import PinxitError, UsageError

PATIENCE = 5.0  # seconds to ask the hub whether a set has changed


def find(text: str, seed: int) -> Source | None:
    if not text.startswith("hf:"):
        return None
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?::([\w.-]+))?", text)
    if match is None:
        raise UsageError(f"a set on the hub is hf:owner/name or hf:owner/name:split, not '{text}'.")
    return hub_source(match[1], match[2])


def hub_source(name: str, split: str | None, otherwise: str = "") -> Source:
    """The images of a set on the hub; `otherwise` is told where it cannot be had."""
    text = f"hf:{name}" + (f":{split}" if split else "")
    otherwise = otherwise or (
        f"{text} cannot be had: there is no network, and it has not been fetched before. "
        "Fetch it once with a network, or give a file or folder of this machine."
    )
    return Source(
        text,
        functools.partial(_key, name, split),
        functools.partial(_records, name, split, otherwise),
    )


def _key(name: str, split: str | None) -> str:
    """The set's newest revision; without network, the one that was seen last."""
    seen = cache_dir() / "hub" / f"{name.replace('/', '--')}.revision"
    revision = _revision(name)
    if revision is not None:
        with contextlib.suppress(OSError):  # a folder that cannot be written is told of later
            write_atomically(seen, revision)
    elif seen.is_file():
        revision = seen.read_text()
    return f"{name} {split} {revision or ''}"


def _revision(name: str) -> str | None:
    """The set's newest revision, "" where the hub knows none, or None without network."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().dataset_info(name, timeout=PATIENCE).sha or ""
    except HfHubHTTPError:  # it answered: there is no such set, or it is private
        return ""
    except Exception:  # the kinds of failure to reach it are those of several libraries
        return None


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """`datasets` looks into its own cache at once, instead of retrying for half a minute."""
    import datasets.config
    import huggingface_hub.constants

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


def _records(name: str, split: str | None, otherwise: str) -> Iterator[Record]:
    from datasets import Image

    parts = _fetched(name, split, otherwise)
    for part, rows in parts.items():
        column, label, class_names = _features(name, rows)
        images = rows.select_columns([column]).cast_column(column, Image(decode=False))
        texts = rows.remove_columns([c for c in rows.column_names if not _is_text(c, label)])
        for i, row in enumerate(texts):
            rank = row.get(label) if isinstance(row.get(label), int) else None
            named = rank is not None and 0 <= rank < len(class_names)
            yield Record(
                f"{part}-{i:06d}",
                functools.partial(_image, images, i, column),
                label=class_names[rank] if named and rank is not None else _name(row.get(label)),
                rank=rank,
                captions=parse_captions(row),
                split=parse_split(part),
            )


def _fetched(name: str, split: str | None, otherwise: str) -> dict[str, Any]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    offline = _revision(name) is None
    try:
        with _without_network() if offline else contextlib.nullcontext():
            found = load_dataset(name, split=split)
    except DatasetNotFoundError:
        if offline:
            raise PinxitError(otherwise) from None
        raise PinxitError(
            f"hf:{name}: the hub has no such set, or it is private "
            "(then log in with: hf auth login)."
        ) from None
    except (ConnectionError, OSError) as error:
        if offline:
            raise PinxitError(otherwise) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PinxitError(f"hf:{name} cannot be fetched: {reason}") from None
    except ValueError as error:
        raise PinxitError(f"hf:{name}: {str(error).splitlines()[0]}") from None
    return {split: found} if split else dict(found)  # type: ignore[arg-type]


def _features(name: str, rows: Any) -> tuple[str, str, tuple[str, ...]]:
    """The image column, the label column ("" for none) and its classes' names."""
    kinds = {column: type(feature).__name__ for column, feature in rows.features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    if not images:
        raise PinxitError(f"hf:{name} has no column of images; it has: {', '.join(kinds)}.")
    classes = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    label = "label" if "label" in kinds else (classes[0] if classes else "")
    names = tuple(rows.features[label].names) if label in classes else ()
    return images[0], label, names


def _is_text(column: str, label: str) -> bool:
    return column == label or re.fullmatch(r"(caption|text)(_[a-z]{2,3})?", column) is not None


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _image(images: Any, i: int, column: str) -> bytes:
    value = images[i][column]
    if value and value.get("bytes") is not None:
        return value["bytes"]
    if value and value.get("path"):
        return Path(value["path"]).read_bytes()
    raise UnreadableImage("the row has no image")


KIND = Kind(
    data="hf:OWNER/NAME[:SPLIT]",
    says="A set on the Hugging Face hub with a column of images, fetched by `datasets`.",
    examples=("hf:ylecun/mnist", "hf:uoft-cs/cifar10:train"),
    find=find,
    rank=0,
)
