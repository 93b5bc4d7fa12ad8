"""`hf:owner/name[:split]`: a dataset on the Hugging Face Hub, downloaded by `datasets`.

`datasets` downloads and verifies the files; the images are decoded like those of other sources.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinxit.data.atomic_write import write_atomically
from pinxit.data.cache import cache_dir
from pinxit.data.decode import UnreadableImage
from pinxit.data.records import Listed, Record, Source, SourceType
from pinxit.data.shards.rows import RowReader
from pinxit.errors import PinxitError, UsageError
from pinxit.extras import require_extra

if TYPE_CHECKING:
    from datasets import Dataset

REVISION_TIMEOUT_SECONDS = 5.0
REFUSALS = (401, 403, 404)  # statuses of a dataset that does not exist, or is private


def open_hub_dataset(data: str, seed: int) -> Source | None:
    if not data.startswith("hf:") or data.startswith("hf://"):
        return None
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?::([\w.-]+))?", data)
    if match is None:
        raise UsageError(
            f"a dataset on the Hub is hf:owner/name or hf:owner/name:split, not '{data}'."
        )
    return hub_source(match[1], match[2])


def hub_source(name: str, split: str | None, offline_message: str = "") -> Source:
    """Return the source of a dataset on the Hub.

    `offline_message` is the error if there is neither an answer of the Hub nor an earlier download.
    Raises MissingExtraError without the extra `hub`.
    """
    data = f"hf:{name}" + (f":{split}" if split else "")
    require_extra("hub", f"downloading {data}")
    offline_message = offline_message or (
        f"{data} cannot be downloaded: there is no answer of the Hub, and no earlier "
        "download. Download it once with a network, or use a local file or folder."
    )

    def with_groups(group_by: str) -> Source:
        return Source(
            data,
            functools.partial(_compute_key, name, split),
            functools.partial(_list_records, name, split, offline_message, group_by),
            with_groups=with_groups,
        )

    return with_groups("auto")


def _compute_key(name: str, split: str | None) -> str:
    """Return the dataset's newest revision; without an answer, the last downloaded one."""
    revision_file = cache_dir() / "hub" / f"{name.replace('/', '--')}.revision"
    revision = _fetch_revision(name)
    if revision:
        with contextlib.suppress(OSError):  # writing the images raises the error
            write_atomically(revision_file, revision)
    elif revision is None and revision_file.is_file():
        revision = revision_file.read_text(encoding="utf-8")
    return f"{name} {split} {revision or ''}"


def _fetch_revision(name: str) -> str | None:
    """Return the dataset's newest revision; "" if the Hub has none, None without an answer.

    Too many requests, and errors of the Hub itself, say nothing about the dataset.
    """
    from huggingface_hub import HfApi  # takes 0.3 s
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().dataset_info(name, timeout=REVISION_TIMEOUT_SECONDS).sha or ""
    except HfHubHTTPError as error:
        return "" if error.response.status_code in REFUSALS else None
    except Exception:  # no connection: each of several libraries has its own exceptions
        return None


@contextlib.contextmanager
def _offline_mode() -> Iterator[None]:
    """Make `datasets` use its own cache at once, instead of retrying for half a minute."""
    import datasets.config
    import huggingface_hub.constants

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


def _list_records(
    name: str, split: str | None, offline_message: str, group_by: str
) -> Iterator[Listed]:
    from datasets import Image  # takes 1 s

    reader = RowReader(group_by)
    for part, rows in _download(name, split, offline_message).items():
        image_column, label_column, class_names = _find_columns(name, rows)
        images = rows.select_columns([image_column])
        images = images.cast_column(image_column, Image(decode=False))
        reader.set_class_column(label_column, class_names)
        keep = reader.select_columns(c for c in rows.column_names if c != image_column)
        # without columns `datasets` has no rows
        others: Any = rows.select_columns(keep) if keep else ({} for _ in range(len(rows)))
        split = reader.read_split({"split": part})
        for i, row in enumerate(others):
            fields = reader.read(row)
            fields["split"] = fields["split"] or split
            read = functools.partial(_read_image, images, i, image_column)
            yield Record(f"{part}-{i:06d}", read, **fields)
    yield from reader.list_notes()


def _download(name: str, split: str | None, offline_message: str) -> dict[str, Dataset]:
    """Return the rows of each split. Raises PinxitError if they cannot be downloaded."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    offline = _fetch_revision(name) is None
    try:
        with _offline_mode() if offline else contextlib.nullcontext():
            dataset = load_dataset(name, split=split)
    except DatasetNotFoundError:
        if offline:
            raise PinxitError(offline_message) from None
        raise PinxitError(
            f"hf:{name} is not on the Hub, or it is private (then run: hf auth login)."
        ) from None
    except (ConnectionError, OSError) as error:
        if offline:
            raise PinxitError(offline_message) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PinxitError(f"hf:{name} cannot be downloaded: {reason}") from None
    except ValueError as error:
        raise PinxitError(f"hf:{name}: {str(error).splitlines()[0]}") from None
    return {split: dataset} if split else dict(dataset)  # type: ignore[arg-type]


def _find_columns(name: str, rows: Dataset) -> tuple[str, str, tuple[str, ...]]:
    """Return the image column, the label column ("" for none) and the names of its classes."""
    types = {column: type(feature).__name__ for column, feature in rows.features.items()}
    images = [column for column, kind in types.items() if kind == "Image"]
    if not images:
        raise PinxitError(f"hf:{name} has no column of images; it has: {', '.join(types)}.")
    classes = [column for column, kind in types.items() if kind == "ClassLabel"]
    label = "label" if "label" in types else (classes[0] if classes else "")
    names = tuple(rows.features[label].names) if label in classes else ()
    return images[0], label, names


def _read_image(images: Dataset, i: int, column: str) -> bytes:
    value = images[i][column]
    if value and value.get("bytes") is not None:
        return value["bytes"]
    if value and value.get("path"):
        return Path(value["path"]).read_bytes()
    raise UnreadableImage(f"row {i + 1:,} has no image")


SOURCE_TYPE = SourceType(
    pattern="hf:OWNER/NAME[:SPLIT]",
    description="A dataset on the Hugging Face Hub with a column of images, downloaded by "
    "`datasets`.",
    examples=("hf:ylecun/mnist", "hf:uoft-cs/cifar10:train"),
    open=open_hub_dataset,
    match_order=0,
)
