"""Sources of images: what DATA can be. A source type is a module here with a `SOURCE_TYPE`.

Adding a module adds a source to every command and to `pinxit sources`; deleting it removes it.
Modules import pyarrow and `datasets` (up to 1 s each) only when images are listed.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from pinxit.data.formats import describe_unsupported
from pinxit.data.home_folder import expand_home
from pinxit.data.records import Source, SourceType
from pinxit.data.sources.files import image_files
from pinxit.errors import UsageError, did_you_mean


def list_source_types() -> tuple[SourceType, ...]:
    """Return every type of source, in the order in which they are tried."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    types = [importlib.import_module(f"{__name__}.{name}").SOURCE_TYPE for name in names]
    return tuple(sorted(types, key=lambda source_type: source_type.match_order))


def list_source_names() -> list[str]:
    """Return the names of all sources that are opened by name."""
    return [name for source_type in list_source_types() for name in source_type.list_names()]


def open_source(data: str | Path | Sequence[str | Path], *, seed: int = 0) -> Source:
    """Open the source that DATA names: a name, a path, or several image files.

    Raises UsageError if there is none, with the closest known name.
    """
    if not isinstance(data, str | Path):
        if len(data) != 1:
            return image_files([Path(item) for item in data])
        data = data[0]
    text = name_source(data)
    for source_type in list_source_types():
        if (source := source_type.open(text, seed)) is not None:
            return _note_hidden_path(source, text) if source_type.match_order == 0 else source
    raise UsageError(_describe_unknown(text))


def name_source(data: str | Path) -> str:
    """Return what a source is opened by. A Path is never a name: `Path("mnist")` is `./mnist`."""
    if isinstance(data, str):
        return data
    path = expand_home(data)
    return str(path) if path.is_absolute() else f"./{path}"


def _note_hidden_path(source: Source, name: str) -> Source:
    """Return a source that was opened by name, with notes on files and folders of that name."""
    notes = []
    if Path(name).exists():
        kind = "folder" if Path(name).is_dir() else "file"
        notes.append(f"this is the dataset of that name; for the {kind}, type ./{name}")
    for source_type in list_source_types():
        if (file := source_type.find_same_name(name)) is not None:
            notes.append(f"this is the built-in set; for the file, type {file}")
    return dataclasses.replace(source, notes=(*source.notes, *notes))


def _describe_unknown(text: str) -> str:
    if expand_home(text).exists():
        if reason := describe_unsupported(text):
            return f"{text}: {reason}."
        return f"{text} is not an image and contains none that pinxit reads. See: pinxit sources"
    return (
        f"no source '{text}': there is no such file or folder, and no source of that name."
        f"{did_you_mean(text, list_source_names())} See: pinxit sources"
    )
