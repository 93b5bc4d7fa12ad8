"""What commands are given, a run and pictures, and where what they make goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from pinxit.errors import PinxitError, UsageError

if TYPE_CHECKING:
    from pinxit.data.pictures import Pictures

RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Data = Annotated[Positional[tuple[str, ...]], arg(metavar="[DATA ...]")]
Files = Annotated[Positional[tuple[Path, ...]], arg(metavar="[A B]")]
Number = Annotated[int, arg(aliases=("-n",))]
Out = Annotated[Path | None, arg(aliases=("-o",))]


def model_of(run: Path, ability: str) -> Any:
    """The run's model, which can do what is asked."""
    from pinxit.models.contract import require
    from pinxit.runs import Run

    Run(run).config  # noqa: B018 (a folder that is no run says so before torch is imported)
    return require(Run(run).load(), ability)


def pictures_of(model: Any, run: Path, data: tuple[str, ...], split: str = "test") -> Pictures:
    """The pictures asked for; without any the run's own, of its test split or all."""
    from pinxit.data.progress import say
    from pinxit.runs import Run
    from pinxit.sampling.inputs import for_model, given_pictures, held_out, run_pictures

    if data:
        pictures = given_pictures(Run(run), data)
        _say_converted(run, [Path(one) for one in data])
        return for_model(model, pictures)
    pictures = run_pictures(Run(run))
    if split == "test":
        pictures, warning = held_out(pictures)
        if warning:
            say(warning)
    return for_model(model, pictures)


def files_of(run: Path, files: tuple[Path, ...]) -> Pictures:
    """Picture files, each of which must be there and readable; in their order, with repeats."""
    from pinxit.data.pictures import Pictures
    from pinxit.runs import Run
    from pinxit.sampling.inputs import given_pictures

    for file in files:
        if not file.is_file():
            raise UsageError(f"there is no picture file {file}.")
    each = [given_pictures(Run(run), [file]) for file in files]
    for file, pictures in zip(files, each, strict=True):
        if len(pictures) != 1:
            raise UsageError(f"{file} is not one picture but {len(pictures)}.")
    _say_converted(run, files)
    return Pictures.concatenate(each)


def _say_converted(run: Path, files: Sequence[Path]) -> None:
    """Say of picture files that are not as the run's pictures are what they were read as."""
    from pinxit.data.decode import SUFFIXES, decode, is_grey, measure
    from pinxit.data.progress import say
    from pinxit.data.records import reader
    from pinxit.data.sizes import size_text
    from pinxit.runs import Run

    facts = Run(run).facts
    own = facts.height, facts.width
    for file in files:
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue  # a folder, or another source: its pictures are of any size
        size, read = measure(reader(file)), []
        if size != own:
            read.append(size_text(own))
        if facts.channels == 1 and not is_grey(decode(reader(file), *own, 3, "crop")):
            read.append("grey")
        if read:
            say(f"{file.name} is {size_text(size)}; read as {', '.join(read)}.")


def checked(out: Path | None, *endings: str) -> Path | None:
    """What `--out` says, refused before any work where its ending is none of these."""
    if out is not None and out.suffix not in endings:
        raise UsageError(f"--out ends in {' or '.join(endings)}, not '{out.suffix}': {out}")
    return out


def at_least(least: int, number: int, what: str) -> None:
    """UsageError where a number is too small."""
    if number < least:
        raise UsageError(f"{what}: {least} or more, not {number}.")


def written(path: Path, content: bytes | str) -> Path:
    """Write a file whole or not at all; PinxitError where that cannot be."""
    from pinxit.data.files import write_atomically

    return tried(path, lambda where: write_atomically(where, content))


def tried(path: Path, write: Callable[[Path], object]) -> Path:
    """The path, after `write` has written there."""
    try:
        write(path)
    except OSError as error:
        raise PinxitError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def called(data: tuple[str, ...], split: str = "test") -> str:
    """What the pictures are called in a file's name."""
    if not data:
        return split
    return plain(Path(data[0]).stem if len(data) == 1 else f"{len(data)}-files")


def plain(text: str) -> str:
    """A text as part of a file's name."""
    import re

    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "pictures"


def many(count: int, thing: str) -> str:
    """`1 picture`, `1,200 pictures`."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def names_of(pictures: Pictures) -> list[str]:
    """The pictures' names, or their numbers where they have none."""
    return list(pictures.names) or [str(i) for i in range(len(pictures))]


def print_json(record: Any) -> None:
    """On stdout, for other programs."""
    import json

    print(json.dumps(record, indent=2, ensure_ascii=False))
