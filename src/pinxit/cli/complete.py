"""`pinxit complete`: the missing part of images, painted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pinxit.cli.common import (
    Data,
    NumImages,
    Out,
    RunFolder,
    check_at_least,
    check_suffix,
    data_slug,
    load_images_for,
    load_model,
    pluralize,
    report_os_errors,
    slug,
    write_file,
)
from pinxit.data.masks import Half
from pinxit.errors import UsageError

if TYPE_CHECKING:
    from pinxit.data.images import Images
    from pinxit.data.masks import Missing


def complete(
    run: RunFolder,
    data: Data = (),
    ratio: float | None = None,
    half: Half | None = None,
    box: tuple[int, int, int, int] | None = None,
    mask: Path | None = None,
    compare: str | None = None,
    number: NumImages = 8,
    each: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    alone: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    out: Out = None,
) -> None:
    """The missing part of images, painted; what is known comes back as it was.

    Args:
        run: the run's folder
        data: DATA or image files; without it the test split of the run's own data
        ratio: this share of the patches is missing, drawn by the seed
        half: this half is missing; without any choice the lower one or three patches in four
        box: left, top, width and height in pixels are missing
        mask: an image, white where pixels are missing
        compare: mask ratios in per cent, as 75,85,95: one sheet with all of them
        number: images on the sheet, at even distances over all
        each: completions of each image, for a model that has several
        seed: of the chance
        temperature: 1 as learned, below 1 plainer
        alone: only the completed images, without what was given and the truth
        out: the sheet's PNG, or .npy for all pixels; else complete-*.png in the run's folder
    """
    check_at_least(1, number, "images on the sheet")
    check_at_least(1, each, "completions of each image")
    if not 0 <= temperature < math.inf:
        raise UsageError(f"temperature must be 0 or more, not {temperature}.")
    given = {"ratio": ratio, "half": half, "box": box, "mask": mask, "compare": compare}
    chosen = [f"--{name}" for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise UsageError(f"one of --ratio, --half, --box, --mask, --compare, not {chosen}.")
    where = check_suffix(out, ".png", ".npy")
    model = load_model(run, "complete")
    from pinxit.sampling import inpainting as completions
    from pinxit.sampling.grids import columns_with_titles

    images = load_images_for(model, run, data).evenly_spaced(number)
    name = f"complete-{data_slug(data)}-n{len(images)}" + (f"-seed{seed}" if seed else "")
    if compare is not None:
        ratios = completions.parse_mask_ratios(compare)
        where = where or run / f"{name}-compare-{slug(compare)}.png"
        columns = completions.mask_ratio_columns(model, images, ratios, seed)
        print(write_file(where, columns_with_titles(columns)))
        return
    missing, how = _missing(model, run, images, ratio, half, box, mask, seed)
    made = completions.complete_n_times(
        model, images, missing, each=each, seed=seed, temperature=temperature
    )
    where = where or run / f"{name}-{how}.png"
    print(f"{pluralize(len(images), 'image')}, {missing.mean():.0%} of the pixels missing")
    if alone or where.suffix == ".npy":
        from pinxit.data.images import Images

        print(report_os_errors(where, Images.concatenate(made).save))
        return
    columns = completions.comparison_columns(images, missing, made)
    print(write_file(where, columns_with_titles(columns)))


def _missing(
    model: Any,
    run: Path,
    images: Images,
    ratio: float | None,
    half: Half | None,
    box: tuple[int, int, int, int] | None,
    mask: Path | None,
    seed: int,
) -> tuple[Missing, str]:
    """The mask of each image, and what to call it in a file's name."""
    from pinxit.data import masks as missing

    if mask is not None:
        return missing.mask_from_image(images, _mask(run, mask, images)), slug(mask.stem)
    if box is not None:
        return missing.box_mask(images, box), "box-" + "-".join(map(str, box))
    if half is None and ratio is None:
        # a model that paints from the top left has nothing to go by where the top is missing
        half, ratio = ("lower", None) if model.left_to_right else (None, 0.75)
    if half is not None:
        return missing.half_mask(images, half), half
    assert ratio is not None
    return missing.random_patch_mask(
        images, ratio, missing.patch_size_of(model), seed
    ), f"{ratio:g}"


def _mask(run: Path, file: Path, images: Images) -> Images:
    """The mask as the images are read: cropped or padded alike, and resized with a word."""
    from pinxit.console import echo
    from pinxit.data.masks import read_mask_size
    from pinxit.runs import Run
    from pinxit.sampling.inputs import given_images

    if not file.is_file():
        raise UsageError(f"there is no mask {file}.")
    width, height = read_mask_size(file)
    if (width, height) != (images.width, images.height):
        echo(f"the mask is {width} x {height}: resized to {images.width} x {images.height}")
    return given_images(Run(run), [file])
