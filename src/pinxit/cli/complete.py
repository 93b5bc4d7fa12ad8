"""`pinxit complete`: fill in the missing part of images (inpainting)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from pinxit import console
from pinxit.cli.common import (
    Data,
    Flag,
    Json,
    NumOfData,
    Out,
    Quiet,
    RunFolder,
    SplitOrAll,
    TokenParams,
    check_at_least,
    check_suffix,
    data_slug,
    load_images_for,
    load_model,
    pluralize,
    print_result,
    slug,
    write_or_raise,
    write_sheet,
)
from pinxit.cli.file_names import names_slug, params_suffix
from pinxit.data.image_suffixes import IMAGE_SUFFIXES
from pinxit.data.masks import Half
from pinxit.errors import UsageError
from pinxit.models.generation import GenerationParams
from pinxit.nn.device import Device

if TYPE_CHECKING:
    from pinxit.data.images import Images
    from pinxit.models.protocols import CanComplete


Box = Annotated[tuple[int, int, int, int] | None, arg(metavar="LEFT TOP WIDTH HEIGHT")]


def complete(
    run: RunFolder,
    data: Data = (),
    split: SplitOrAll | None = None,
    num_images: NumOfData = None,
    half: Half | None = None,
    ratio: float | None = None,
    box: Box = None,
    mask: Path | None = None,
    compare: str | None = None,
    completions: int = 1,
    params: TokenParams = GenerationParams(),  # noqa: B008 (frozen)
    only_completions: Flag = False,
    out: Out = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Fill in the missing part of images; known pixels are kept exactly.

    Without --half, --ratio, --box, --mask or --compare a model that generates from left to right
    gets the upper half, any other one patch in four.

    Examples:
        pinxit complete runs/digits-igpt --half lower --completions 4
        pinxit complete runs/photos-mae photos/ --box 8 8 16 16 --out filled.png

    Args:
        run: run folder
        data: DATA or image files (default: the run's own data)
        split: use this split only (default: test of the run's own data, all of DATA)
        num_images: number of images, evenly spaced over all (default: all image files that are
            named, 8 of other images)
        half: remove this half
        ratio: remove this fraction of the patches, chosen by --seed, for example 0.75
        box: remove a box, in pixels
        mask: image file, white where pixels are removed
        compare: mask ratios in percent, joined by commas, for example 75,85,95; one sheet shows all
            of them
        completions: number of completions of each image
        params: options of generation
        only_completions: write the completed images only, without the inputs and the originals
        out: file of the sheet: .png, .jpg or .webp; or .npy for all pixels (default: complete-*.png
            in the run folder)
        device: where to compute; auto is cuda if there is a GPU, or else cpu
        quiet: print no progress and no notes
        json: print the path and the share of missing pixels as JSON
    """
    check_at_least(1, 1 if num_images is None else num_images, "--num-images")
    check_at_least(1, completions, "--completions")
    choices = {"half": half, "ratio": ratio, "box": box, "mask": mask, "compare": compare}
    given = [f"--{name}" for name, value in choices.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be combined: give one of them.")
    _check_ratios(data, ratio, compare)
    path = check_suffix(out, *IMAGE_SUFFIXES, ".npy")
    if compare is not None:
        _check_comparison(completions, only_completions, path)
    model: CanComplete = load_model(run, "complete", device)
    from pinxit.runs import Run
    from pinxit.sampling.grids import columns_with_titles
    from pinxit.sampling.inpainting import (
        choose_mask,
        comparison_columns,
        complete_n_times,
        mask_ratio_columns,
        parse_mask_ratios,
        read_mask,
    )

    images = load_images_for(model, run, data, split, quiet, num_images, default=8)
    name = partial(_complete_name, data, split, len(images), params)
    if compare is not None:
        columns = mask_ratio_columns(model, images, parse_mask_ratios(compare), params)
        path = path or run / f"{name(f'compare-{slug(compare)}')}.png"
        print_result(write_sheet(path, columns_with_titles(columns)), json, ratios=compare)
        return
    if mask is not None:
        if not quiet:
            _report_mask_size(mask, images)
        missing, removed = read_mask(Run(run), images, mask), _mask_slug(mask)
    else:
        assert isinstance(params.seed, int)
        missing, removed = choose_mask(model, images, half, ratio, box, params.seed)
    completed = complete_n_times(model, images, missing, params, completions)
    path = path or run / f"{name(removed, completions, only_completions)}.png"
    if only_completions or path.suffix.lower() == ".npy":
        from pinxit.data.images import Images

        write_or_raise(path, Images.concatenate(completed).save)
    else:
        write_sheet(path, columns_with_titles(comparison_columns(images, missing, completed)))
    share = float(missing.mean())
    summary = f"{pluralize(len(images), 'image')}, {share:.0%} of the pixels missing"
    print_result(path, json, summary=summary, num_images=len(images), missing=share)


def _complete_name(
    data: Sequence[str],
    split: str | None,
    num_images: int,
    params: GenerationParams,
    removed: str,
    completions: int = 1,
    only_completions: bool = False,
) -> str:
    """Return the default name of the file, without its suffix; `removed` describes the mask."""
    name = f"complete-{data_slug(data, split)}-n{num_images}{params_suffix(params)}-{removed}"
    name += f"-x{completions}" if completions > 1 else ""
    return name + ("-only" if only_completions else "")


def _mask_slug(mask: Path) -> str:
    return f"mask-{names_slug([str(mask)])}"


def _check_comparison(completions: int, only_completions: bool, path: Path | None) -> None:
    """Raise UsageError for what a sheet of several mask ratios does not have."""
    for flag, is_set in (
        ("--completions", completions > 1),
        ("--only-completions", only_completions),
        ("--out *.npy", path is not None and path.suffix.lower() == ".npy"),
    ):
        if is_set:
            raise UsageError(f"--compare is one sheet of several mask ratios, without {flag}.")


def _check_ratios(data: Sequence[str], ratio: float | None, compare: str | None) -> None:
    """Raise UsageError for `--ratio 75` and for `--compare 75 85`."""
    if ratio is not None and not 0 < ratio < 1:
        hint = f" Did you mean {ratio / 100:g}?" if 1 < ratio < 100 else ""
        raise UsageError(f"--ratio must be between 0 and 1, not {ratio:g}.{hint}")
    more = [text for text in data if re.fullmatch(r"[\d.,]+%?", text) and not Path(text).exists()]
    if compare is not None and more:
        raise UsageError(f"--compare takes one list: --compare {','.join([compare, *more])}")


def _report_mask_size(file: Path, images: Images) -> None:
    """Print that a mask is resized. Raises UsageError for what is no image file."""
    from pinxit.data.masks import read_mask_size

    width, height = read_mask_size(file)
    if (width, height) != (images.width, images.height):
        console.echo(
            f"the mask is {width} x {height}; resized to {images.width} x {images.height}."
        )
