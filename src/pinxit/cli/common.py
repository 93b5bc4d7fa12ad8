"""Shared by all commands: argument types, loading runs and images, writing results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from tyro.conf import FlagCreatePairsOff, Positional, arg

from pinxit import console
from pinxit.cli.options import Only
from pinxit.console import pluralize as pluralize
from pinxit.data.slugs import data_slug as data_slug
from pinxit.data.slugs import slug as slug
from pinxit.data.split_names import SplitOrAll as SplitOrAll
from pinxit.errors import PinxitError, UsageError
from pinxit.models.generation import TOKENS, GenerationParams
from pinxit.nn.device import resolve_device

if TYPE_CHECKING:
    from pinxit.data.image_rows import ImageRows
    from pinxit.data.images import Images

RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Data = Annotated[Positional[tuple[str, ...]], arg(metavar="[DATA ...]")]
NumImages = Annotated[int, arg(aliases=("-n",))]
NumOfData = Annotated[int | None, arg(aliases=("-n",))]  # None: all, or as many as suit the command
Out = Annotated[Path | None, arg(aliases=("-o",))]
Flag = Annotated[bool, FlagCreatePairsOff]  # off by default, without a --no-... flag
# options of generation of a model without a text: best_of needs one
TokenParams = Annotated[GenerationParams, Only((*TOKENS, "steps", "solver"))]
# of a model that may generate from a label, which guidance follows more closely
LabelParams = Annotated[
    GenerationParams, Only((*TOKENS, "level_temperatures", "guidance", "steps", "solver"))
]
Json = Flag
Quiet = Flag


# -- runs and images -------------------------------------------------------------------------------


def load_model(run: Path, ability: str, device: str = "auto") -> Any:
    """Return the model of a run on a device. Raises PinxitError if it lacks the ability."""
    from pinxit.runs import Run

    Run(run).check()  # before torch is imported
    from pinxit.models.abilities import require

    return require(Run(run).load(resolve_device(device)), ability)


def load_images_for(
    model: object,
    run: Path,
    data: tuple[str, ...],
    split: SplitOrAll | None = None,
    quiet: bool = False,
    num_images: int | None = None,
    default: int | None = None,
) -> Images:
    """Return `num_images` of the images of `load_rows_for`, evenly spaced, in memory.

    Without a number: all image files that are named, the default of other images. Their labels have
    the numbers that the model gives them.
    """
    from pinxit.sampling.inputs import match_labels

    rows = load_rows_for(model, run, data, split, quiet)
    count = choose_count(rows, num_images, None if are_image_files(data) else default, quiet)
    return match_labels(model, rows.evenly_spaced(count).load())


def load_rows_for(
    model: object,
    run: Path,
    data: tuple[str, ...],
    split: SplitOrAll | None = None,
    quiet: bool = False,
) -> ImageRows:
    """Return one split of DATA, or of the run's own data, in the size and channels of the model.

    Their labels are those of the source: those that the model does not know are printed. Without a
    split: all of DATA, or the test split of the run's own data. Raises UsageError for a
    split that has no images.
    """
    from pinxit.runs import Run
    from pinxit.sampling.inputs import (
        load_for_run,
        load_run_data,
        select_rows,
        warn_of_unknown_labels,
    )

    if data:
        images = load_for_run(Run(run), data, progress=not quiet)
        if not quiet:
            skipped = {file.name for file in images.skipped}
            files = map(Path, data)
            _report_conversion(run, [file for file in files if file.as_posix() not in skipped])
    else:
        images = load_run_data(Run(run), progress=not quiet)
    rows, warning = select_rows(images, split or ("all" if data else "test"))
    if warning and not quiet:
        console.echo(f"warning: {warning}")
    if not quiet:
        warn_of_unknown_labels(model, images)
    return rows


def load_named(
    run: Path, names: Sequence[str], quiet: bool = False, sources: bool = False
) -> Images:
    """Return one image per name: an image file, or an image of the run's data by name or number.

    With `sources` a pair of an edit gives the image before it. Raises UsageError for a name that is
    neither.
    """
    from pinxit.runs import Run
    from pinxit.sampling.inputs import load_named_images

    images = load_named_images(Run(run), names, progress=not quiet, sources=sources)
    if not quiet:
        _report_conversion(run, [Path(name) for name in names])
    return images


def _report_conversion(run: Path, files: Sequence[Path]) -> None:
    """Print which image files are resized or converted to grey. All must be readable."""
    from pinxit.data.decode import decode, is_grey, read_size
    from pinxit.data.formats import SUFFIXES
    from pinxit.data.sizes import format_size
    from pinxit.runs import Run

    info = Run(run).info
    size = info.height, info.width
    for file in files:
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue  # folders and other sources may hold images of any size
        file_size, changes = read_size(file.read_bytes), []
        if file_size != size:
            changes.append(format_size(size))
        if info.channels == 1 and not is_grey(decode(file.read_bytes, *size, 3, "crop")):
            changes.append("grey")
        if changes:
            console.echo(f"{file.name} is {format_size(file_size)}; read as {', '.join(changes)}.")


def choose_count(
    rows: ImageRows, num_images: int | None, default: int | None, quiet: bool
) -> int | None:
    """Return how many images a command works on, at most; None for all.

    Without `--num-images` it is the default, and images beyond that are left out with a note.
    """
    if num_images is None and default is not None and default < len(rows) and not quiet:
        is_stream = rows.images.stream is not None  # the rows are a sample of it
        total = "the images of a stream" if is_stream else f"{len(rows):,} images"
        console.echo(f"{default:,} of {total}; -n chooses more")
    return default if num_images is None else num_images


def are_image_files(data: Sequence[str]) -> bool:
    """Return whether DATA are image files, named one by one."""
    from pinxit.data.formats import SUFFIXES

    return bool(data) and all(
        Path(name).suffix.lower() in SUFFIXES and Path(name).is_file() for name in data
    )


# -- checks ----------------------------------------------------------------------------------------


def check_suffix(out: Path | None, *suffixes: str) -> Path | None:
    """Return `--out` unchanged. Raises UsageError if it ends in none of the suffixes."""
    if out is not None and out.suffix.lower() not in suffixes:
        *most, last = suffixes
        known = f"{', '.join(most)} or {last}" if most else last
        raise UsageError(f"--out ends in {known}, not '{out.suffix}': {out}")
    return out


def check_at_least(minimum: int, number: int, flag: str) -> None:
    """Raise UsageError if the number that a flag gives is too small."""
    if number < minimum:
        raise UsageError(f"{flag} must be {minimum} or more, not {number}.")


# -- results ---------------------------------------------------------------------------------------


def write_file(path: Path, content: bytes | str) -> Path:
    """Write a file atomically. Raises PinxitError if it cannot be written."""
    from pinxit.data.atomic_write import write_atomically

    return write_or_raise(path, lambda target: write_atomically(target, content))


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write it atomically. Raises PinxitError if it cannot be written."""
    from pinxit.data.atomic_write import open_atomically

    with _explain_write(path), open_atomically(path) as file:
        yield file


def write_or_raise(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write(path)` and return the path. Raises PinxitError if it cannot be written."""
    with _explain_write(path):
        write(path)
    return path


@contextmanager
def _explain_write(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PinxitError(f"{path} cannot be written: {error.strerror or error}.") from None


def write_sheet(path: Path, png: bytes) -> Path:
    """Write a PNG as a file of the kind that its suffix names, see `write_file`."""
    from pinxit.data.encoding import transcode_png

    return write_file(path, transcode_png(png, path))


def print_result(path: Path, as_json: bool = False, *, summary: str = "", **facts: Any) -> None:
    """Print a summary and, on the last line, the path; or the path and the facts as JSON."""
    if as_json:
        console.out_json({"path": str(path), **facts})
        return
    if summary:
        console.out(summary)
    console.out(str(path))


# -- texts -----------------------------------------------------------------------------------------


def shell_join(*args: str | Path) -> str:
    """Join arguments to a command line that can be pasted into a shell."""
    return shlex.join(map(str, args))


def image_names(images: Images) -> list[str]:
    """Return the names of images, or their numbers if they have no names."""
    return list(images.names) or [str(i) for i in range(len(images))]
