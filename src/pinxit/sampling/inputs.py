"""The images that a command works on, in the form that its run's model takes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pinxit.console import echo, pluralize
from pinxit.data.captions import NoTexts
from pinxit.data.formats import SUFFIXES
from pinxit.data.groups import NoGroups
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.data.labels import make_label_names_unique, renumber_labels
from pinxit.data.load import load_images
from pinxit.data.load_options import LoadOptions, check_no_options, make_load_options
from pinxit.errors import PinxitError, UsageError, did_you_mean
from pinxit.models.protocols import HasLabels
from pinxit.runs import Run

MAX_LABELS_SHOWN = 8

Loaded = TypeVar("Loaded")


def load_run_data(run: Run, *, progress: bool = True) -> Images:
    """Return the images that a run was trained on, validation and test images included.

    Those that were given in Python are there already; others are loaded. Raises PinxitError if they
    cannot be found any more.
    """
    if run.own_images is not None:
        return run.own_images
    return _load(run, own_data(run), run.load_options, progress)


def _can_ignore_groups(run: Run, source: str | Path | Sequence[str | Path]) -> bool:
    """Whether groups that a source does not have are no error.

    Those of the run may be missing in other DATA; bursts also in the run's own, which an earlier
    version trained on without a word.
    """
    return run.load_options.group_by == "burst" or not _is_own(run, source)


def load_with_fallbacks(
    run: Run,
    source: str | Path | Sequence[str | Path],
    options: LoadOptions,
    load: Callable[[LoadOptions], Loaded],
    *,
    progress: bool,
) -> Loaded:
    """Call `load`, without groups and texts where a source has none and need not have them.

    Texts that other DATA do not have are named, unless `progress` is False.
    """
    while True:
        try:
            return load(options)
        except NoGroups:
            if not _can_ignore_groups(run, source):
                raise
            options = dataclasses.replace(options, group_by="none")
        except NoTexts as error:
            if _is_own(run, source):
                raise
            if progress:
                echo(f"captions are not read as in training: {error}")
            options = make_load_options(options, **error.fallback)


def _load(
    run: Run, source: str | Path | Sequence[str | Path], options: LoadOptions, progress: bool
) -> Images:
    load = functools.partial(load_images, source, progress=progress)
    return load_with_fallbacks(run, source, options, load, progress=progress)


def own_data(run: Run) -> str | list[str]:
    """Return the DATA that a run was trained on. Raises PinxitError if it had no name."""
    record = run.config.get("data") or {}
    source = record.get("files") or record.get("source")
    if not source:
        raise PinxitError(f"{run.path} was trained on images given in Python; name DATA.")
    return source


def load_named_images(
    run: Run, names: Sequence[str | Path], *, progress: bool = True, sources: bool = False
) -> Images:
    """Return one image per name: an image file, or an image of the run's own data.

    Those of the data go by their names, as `pinxit score` lists them, or by a number k: the k-th
    test image, from 0. With `sources` a pair of an edit gives the image before it. Raises
    UsageError for a name that is neither, and for a file that holds several images.
    """
    names = [str(name) for name in names]
    own, parts = None, []
    for name in names:
        if Path(name).is_file():
            part = load_for_run(run, [name], progress=progress)
            if len(part) != 1:
                raise UsageError(f"{name} holds {len(part)} images; give a file of one image.")
        else:
            own = _load_own(run, name, progress) if own is None else own
            part = own[find_image(own, name)]
        parts.append(source_images(part) if sources else part)
    return join_images(parts)


def join_images(parts: Sequence[Images]) -> Images:
    """Concatenate images with their labels, which are renumbered by name.

    Images of a part without labels have the label -1; without any labels there are none.
    """
    joined = Images.concatenate(parts)
    if all(part.labels is None for part in parts):
        return joined
    unique = (make_label_names_unique(part.label_names) for part in parts)
    names = tuple(dict.fromkeys(name for names in unique for name in names))
    if not names:  # numbers alone
        numbers = [np.full(len(p), -1) if p.labels is None else p.labels for p in parts]
        return dataclasses.replace(joined, labels=np.concatenate(numbers))
    labels = [
        np.full(len(part), -1)
        if part.labels is None
        else renumber_labels(_check_labels(part), part.label_names, names)
        for part in parts
    ]
    return dataclasses.replace(joined, labels=np.concatenate(labels), label_names=names)


def source_images(images: Images) -> Images:
    """Return the images before their edits; images that are no pairs are returned as they are."""
    if images.before is None:
        return images
    return dataclasses.replace(images, pixels=images.before, before=None)


def _load_own(run: Run, name: str, progress: bool) -> Images:
    try:
        return load_run_data(run, progress=progress)
    except PinxitError as error:
        raise UsageError(f"there is no image file {name}, and of the run's data: {error}") from None


def find_image(images: Images, name: str) -> int:
    """Return the row of an image, by its name or by its number among the test images.

    Raises UsageError for a name that no image has.
    """
    names = list(images.names)
    if name in names:
        return names.index(name)
    rows = images.split_indices("test")
    rows = rows if len(rows) else np.arange(len(images))
    if name.isdecimal():
        if int(name) < len(rows):
            return int(rows[int(name)])
        raise UsageError(f"there is no test image {name}; they are numbered 0 to {len(rows) - 1}.")
    examples = names[int(rows[0])] if names else 0
    hint = did_you_mean(name, names) or f" Names are such as {examples}, or numbers such as 0."
    raise UsageError(
        f"there is no image file {name}, and no image of that name in {images.source}.{hint}"
    )


def load_for_run(
    run: Run, data: Sequence[str | Path] | Images, *, progress: bool = True, **changes: Any
) -> Images:
    """Load DATA or image files with the run's size, channels, fit, range and captions.

    `changes` are load options that differ from the run's. The run's own data are streamed if they
    were in training, other DATA if they are large; groups and texts that other DATA do not have are
    ignored.
    Raises UsageError for unknown DATA, PinxitError if no image can be read.
    """
    if isinstance(data, Images):
        check_no_options(make_load_options(**changes))
        return data
    source, options = options_for_data(run, data, **changes)
    return _load(run, source, options, progress)


def options_for_data(
    run: Run, data: Sequence[str | Path], **changes: Any
) -> tuple[str | Path | list[str | Path], LoadOptions]:
    """Return the source that DATA name, and how `load_for_run` loads it.

    Image files have no texts: options of those are left out.
    """
    source = data[0] if len(data) == 1 else list(data)
    keeps_stream = _is_own(run, source) and not changes.get("limit")
    stream = run.load_options.stream if keeps_stream else "auto"
    defaults = {"limit": None, "strict": False, "data_seed": None, "stream": stream}
    if all(map(_is_image_file, data)):
        defaults |= {"captions": None, "languages": None}
    return source, make_load_options(run.load_options, **{**defaults, **changes})


def _is_image_file(name: str | Path) -> bool:
    path = Path(name).expanduser()
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _is_own(run: Run, source: str | Path | Sequence[str | Path]) -> bool:
    """Return whether DATA is what a run was trained on, by its name or its path."""
    record = run.config.get("data") or {}
    own = record.get("files") or record.get("source")
    if not isinstance(own, str) or not isinstance(source, str | Path):
        return False
    return str(source) == own or Path(source).resolve() == Path(own).resolve()


def select_split(images: Images, split: str = "test") -> tuple[Images, str]:
    """Return a split, or `all`, in memory, and a warning or an empty string: see `select_rows`."""
    rows, warning = select_rows(images, split)
    return rows.load(), warning


def select_rows(images: Images, split: str = "test") -> tuple[ImageRows, str]:
    """Return the rows of a split, or of `all`, and an empty string.

    Without test images the test split is all images, with a warning. Raises UsageError for
    another split that has no images.
    """
    if split == "all":
        return ImageRows.of(images), ""
    rows = images.split_indices(split) if images.splits is not None else np.arange(0)
    if len(rows):
        return ImageRows(images, rows), ""
    source = images.source or "the data"
    if split != "test":
        counts = [f"{name} {n:,}" for name, n in images.count_splits().items() if n]
        known = f"its splits: {', '.join(counts)}" if counts else "it has no splits"
        raise UsageError(f"{source} has no images of the split '{split}'; {known}.")
    return ImageRows.of(images), (
        f"{source} has no test split: the model may have been trained on "
        f"the {pluralize(len(images), 'image')} used"
    )


def is_label_conditional(model: object) -> bool:
    """Return whether a model conditions on labels."""
    return isinstance(model, HasLabels) and model.label_conditional


def labels_for(model: object, images: Images) -> np.ndarray | None:
    """Return the images' labels if the model conditions on labels, else None."""
    return images.labels if is_label_conditional(model) else None


def match_labels(model: object, images: Images) -> Images:
    """Renumber the labels by the model's label names; -1 for a name that it does not know.

    A model that does not condition on labels gets the images unchanged. Raises UsageError for
    labels without a name.
    """
    if not isinstance(model, HasLabels) or not model.label_conditional or images.labels is None:
        return images
    _check_labels(images)
    names = model.info.label_names
    if images.label_names == names:
        return images
    labels = renumber_labels(images.labels, images.label_names, names)
    return dataclasses.replace(images, labels=labels, label_names=names)


def _check_labels(images: Images) -> np.ndarray:
    """Return the labels. Raises UsageError for a number that is not one of `label_names`."""
    labels, count = images.labels, len(images.label_names)
    assert labels is not None, "labelled images"
    unnamed = labels[(labels < -1) | (labels >= count)]
    if len(unnamed):
        raise UsageError(
            f"the label {unnamed[0]} has no name: `label_names` has {count}. Give one for each "
            "label, -1 stands for none."
        )
    return labels


def warn_of_unknown_labels(model: object, images: Images) -> None:
    """Print the labels that a label-conditional model does not know: it takes them for none."""
    matched = match_labels(model, images)
    if matched is images or images.labels is None or matched.labels is None:
        return
    numbers = np.unique(images.labels[(matched.labels < 0) & (images.labels >= 0)]).tolist()
    if numbers:
        names = [images.label_names[number] for number in numbers]
        shown = ", ".join([*names[:MAX_LABELS_SHOWN], *["..."][: len(names) > MAX_LABELS_SHOWN]])
        echo(f"labels that this model does not know: {shown}")
