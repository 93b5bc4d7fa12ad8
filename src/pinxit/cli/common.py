"""What commands are given, a run and images, and where what they make goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructTypeInfo,
)

from pinxit.errors import PinxitError, UsageError
from pinxit.models.generation import GenerationParams, Reranker

if TYPE_CHECKING:
    from pinxit.data.images import Images

RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Data = Annotated[Positional[tuple[str, ...]], arg(metavar="[DATA ...]")]
Files = Annotated[Positional[tuple[Path, ...]], arg(metavar="[A B]")]
NumImages = Annotated[int, arg(aliases=("-n",))]
Out = Annotated[Path | None, arg(aliases=("-o",))]
Flag = Annotated[bool, FlagCreatePairsOff]  # off unless given; there is no --no-...
Json = Flag
Quiet = Flag
Device = Literal["auto", "cpu", "cuda", "mps"]


# -- how tyro reads the shared dataclasses: tyro.cli(..., **PARSE) -----------------------------

REGISTRY = ConstructorRegistry()
PARSE: dict[str, Any] = {"config": (OmitArgPrefixes,), "registry": REGISTRY}


@REGISTRY.primitive_rule
def _reranker_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Reranker] | None:
    """`--reranker RUN` is the captioning model of a run; `--help` loads none."""
    if info.type is not Reranker:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="RUN",
        instance_from_str=lambda words: load_reranker(Path(words[0])),
        is_instance=lambda value: value is not None,
        str_from_instance=lambda model: [type(model).__name__],
    )


def load_reranker(run: Path) -> Reranker:
    """Return the captioning model of a run. Raises PinxitError if it cannot caption."""
    return load_model(run, "caption")


class _GenerationFlags(GenerationParams):
    """The same fields; a type of its own, so that tyro's rule for dataclasses applies to it."""


@REGISTRY.struct_rule
def _generation_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The fields of `GenerationParams` as flags: one seed, and no `start`."""
    if info.type is not GenerationParams:
        return None
    spec = ConstructorRegistry.get_struct_spec(dataclasses.replace(info, type=_GenerationFlags))
    assert isinstance(spec, StructConstructorSpec)
    fields = [field for field in spec.fields if field.name != "start"]
    fields = [dataclasses.replace(f, type=int) if f.name == "seed" else f for f in fields]
    return StructConstructorSpec(instantiate=GenerationParams, fields=tuple(fields))


# -- runs and images ---------------------------------------------------------------------------


def load_model(run: Path, ability: str) -> Any:
    """The run's model, which can do what is asked."""
    from pinxit.models.abilities import require
    from pinxit.runs import Run

    Run(run).config  # noqa: B018 (a folder that is no run says so before torch is imported)
    return require(Run(run).load(), ability)


def load_images_for(model: Any, run: Path, data: tuple[str, ...], split: str = "test") -> Images:
    """The images asked for; without any the run's own, of its test split or all."""
    from pinxit.console import echo
    from pinxit.runs import Run
    from pinxit.sampling.inputs import for_model, given_images, held_out, run_images

    if data:
        images = given_images(Run(run), data)
        _report_conversion(run, [Path(one) for one in data])
        return for_model(model, images)
    images = run_images(Run(run))
    if split == "test":
        images, warning = held_out(images)
        if warning:
            echo(warning)
    return for_model(model, images)


def load_files(run: Path, files: tuple[Path, ...]) -> Images:
    """Image files, each of which must be there and readable; in their order, with repeats."""
    from pinxit.data.images import Images
    from pinxit.runs import Run
    from pinxit.sampling.inputs import given_images

    for file in files:
        if not file.is_file():
            raise UsageError(f"there is no image file {file}.")
    each = [given_images(Run(run), [file]) for file in files]
    for file, images in zip(files, each, strict=True):
        if len(images) != 1:
            raise UsageError(f"{file} is not one image but {len(images)}.")
    _report_conversion(run, files)
    return Images.concatenate(each)


def _report_conversion(run: Path, files: Sequence[Path]) -> None:
    """Say of image files that are not as the run's images are what they were read as."""
    from pinxit.console import echo
    from pinxit.data.decode import SUFFIXES, decode, is_grey, read_size
    from pinxit.data.sizes import format_size
    from pinxit.runs import Run

    info = Run(run).info
    own = info.height, info.width
    for file in files:
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue  # a folder, or another source: its images are of any size
        size, read = read_size(file.read_bytes), []
        if size != own:
            read.append(format_size(own))
        if info.channels == 1 and not is_grey(decode(file.read_bytes, *own, 3, "crop")):
            read.append("grey")
        if read:
            echo(f"{file.name} is {format_size(size)}; read as {', '.join(read)}.")


def check_suffix(out: Path | None, *endings: str) -> Path | None:
    """What `--out` says, refused before any work where its ending is none of these."""
    if out is not None and out.suffix not in endings:
        raise UsageError(f"--out ends in {' or '.join(endings)}, not '{out.suffix}': {out}")
    return out


def check_at_least(least: int, number: int, what: str) -> None:
    """UsageError where a number is too small."""
    if number < least:
        raise UsageError(f"{what}: {least} or more, not {number}.")


def write_file(path: Path, content: bytes | str) -> Path:
    """Write a file whole or not at all; PinxitError where that cannot be."""
    from pinxit.data.atomic_write import write_atomically

    return report_os_errors(path, lambda where: write_atomically(where, content))


def report_os_errors(path: Path, write: Callable[[Path], object]) -> Path:
    """The path, after `write` has written there."""
    try:
        write(path)
    except OSError as error:
        raise PinxitError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def data_slug(data: tuple[str, ...], split: str = "test") -> str:
    """What the images are called in a file's name."""
    if not data:
        return split
    return slug(Path(data[0]).stem if len(data) == 1 else f"{len(data)}-files")


def slug(text: str) -> str:
    """A text as part of a file's name."""
    import re

    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "images"


def pluralize(count: int, thing: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def image_names(images: Images) -> list[str]:
    """The images' names, or their numbers where they have none."""
    return list(images.names) or [str(i) for i in range(len(images))]


def print_json(record: Any) -> None:
    """On stdout, for other programs."""
    from pinxit.console import out_json

    out_json(record)
