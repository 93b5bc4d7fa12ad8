"""Completed images beside their inputs, as titled columns of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pinxit.data.decode import UnreadableImage, decode
from pinxit.data.decoding.conversion import parse_conversion
from pinxit.data.encoding import encode_losslessly
from pinxit.data.home_folder import expand_home
from pinxit.data.images import Images
from pinxit.data.masks import (
    Half,
    box_mask,
    half_mask,
    mask_from_image,
    random_patch_mask,
    show_masked,
)
from pinxit.errors import PinxitError, UsageError, describe_os_error, format_value
from pinxit.models.generation import GenerationParams
from pinxit.models.protocols import CanComplete
from pinxit.nn.rng import mix_seed
from pinxit.runs import Run

if TYPE_CHECKING:
    from pinxit.data.masks import PixelMask

Columns = list[tuple[str, Images]]


def complete_n_times(
    model: CanComplete, images: Images, mask: PixelMask, params: GenerationParams, n: int = 1
) -> list[Images]:
    """Return `n` completions of every image: the first with the seed, others with mixed seeds.

    Raises UsageError for several of a model that completes an image in one way only.
    """
    assert isinstance(params.seed, int)
    if n > 1 and params.temperature == 0:
        raise UsageError("completions at temperature 0 are equal: it must be above 0 for several.")
    if n > 1 and getattr(model, "completion_is_deterministic", False):
        raise UsageError("this model completes an image in one way only: several would be equal.")
    seeds = [params.seed, *(mix_seed(params.seed, k) for k in range(1, n))]
    return [model.complete(images, mask, params, seed=seed) for seed in seeds]


def choose_mask(
    model: CanComplete,
    images: Images,
    half: Half | None = None,
    ratio: float | None = None,
    box: tuple[int, int, int, int] | None = None,
    seed: int = 0,
) -> tuple[PixelMask, str]:
    """Return the missing pixels of each image, and their description as part of a file name.

    By default a model that generates from left to right gets the upper half, any other one patch
    in four. Raises UsageError for a ratio or a box that does not fit.
    """
    if box is not None:
        return box_mask(images, box), "box-" + "-".join(map(str, box))
    if half is None and ratio is None:
        # a model that generates from the top left has no context if the top is missing
        half, ratio = ("lower", None) if model.left_to_right else (None, 0.75)
    if half is not None:
        return half_mask(images, half), half
    assert ratio is not None
    return random_patch_mask(images, ratio, model.patch_size, seed), str(ratio)


def read_mask(run: Run, images: Images, mask: Any) -> PixelMask:
    """Return the missing pixels of each image by a mask: a file, an array, or one image.

    Missing is what is True, or white on the mask's own scale: a mask is no image of the set, so the
    run's range, background and captions are not used for it. All but an array of bool is cropped or
    padded and resized like the run's images. Raises UsageError for what is no mask.
    """
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        return _check_bool_mask(images, mask)
    content, options = _read_mask_content(mask), run.load_options
    conversion = parse_conversion("auto", "white", options.resample)
    shape = (images.height, images.width, images.channels)
    try:
        pixels = decode(lambda: content, *shape, options.fit, conversion)
    except UnreadableImage as error:
        raise UsageError(f"the mask cannot be read: {error}.") from None
    return mask_from_image(images, Images(pixels[None]))


def _check_bool_mask(images: Images, mask: np.ndarray) -> PixelMask:
    """Return the mask of each image. Raises UsageError for another shape, and without a True."""
    shape = images.pixels.shape[:3]
    if mask.shape not in (shape, shape[1:]):
        raise UsageError(f"the mask has shape {list(mask.shape)}, the images {list(shape)}.")
    if not mask.any():
        raise UsageError("the mask is all False; make it True where pixels are to complete.")
    return np.broadcast_to(mask, shape).copy()


def _read_mask_content(mask: Any) -> bytes | np.ndarray:
    """Return what a mask is decoded from: the bytes of a file, or an array."""
    if isinstance(mask, Image.Image):
        return encode_losslessly(mask)
    if isinstance(mask, str | Path):
        file = expand_home(mask)
        if not file.is_file():
            raise UsageError(f"there is no mask file {mask}.")
        try:
            return file.read_bytes()
        except OSError as error:
            raise PinxitError(describe_os_error(error)) from None
    array = mask.numpy() if isinstance(mask, Images) else mask
    if not isinstance(array, np.ndarray):
        raise UsageError(f"a mask is a file, an array or an image, not {format_value(mask)}.")
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4))
    if not is_image or array.dtype.kind not in "uif":
        raise UsageError(
            "a mask is one image [height, width(, 3)], or an array of bool, "
            f"not {array.dtype} {list(array.shape)}."
        )
    return array


def comparison_columns(images: Images, mask: PixelMask, completions: Sequence[Images]) -> Columns:
    """Return the columns input, each completion, original."""
    titles = ["completed"]
    if len(completions) > 1:
        titles = [f"completion {k}" for k in range(1, len(completions) + 1)]
    return [
        ("input", show_masked(images, mask)),
        *zip(titles, completions, strict=True),
        ("original", images),
    ]


def mask_ratio_columns(
    model: CanComplete, images: Images, ratios: Sequence[float], params: GenerationParams
) -> Columns:
    """Return the original, then input and completion at each mask ratio (He 2021, fig. 2)."""
    assert isinstance(params.seed, int)
    columns: Columns = [("original", images)]
    for ratio in ratios:
        mask = random_patch_mask(images, ratio, model.patch_size, params.seed)
        completed = model.complete(images, mask, params)
        columns += [(f"{ratio:.0%} masked", show_masked(images, mask)), ("completed", completed)]
    return columns


def parse_mask_ratios(text: str) -> tuple[float, ...]:
    """Parse `75,85,95` (percent) or `0.75,0.85` into fractions; a list has one kind of numbers.

    Raises UsageError for a mixture, and for anything that is not between 0 and 1.
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part.removesuffix("%")) for part in parts]
    except ValueError:
        raise UsageError(_invalid_ratios(text)) from None
    if all(part.endswith("%") for part in parts) or all(number >= 1 for number in numbers):
        numbers = [number / 100 for number in numbers]
    elif "%" in text:
        raise UsageError(_invalid_ratios(text))
    return check_mask_ratios(numbers, text)


def check_mask_ratios(ratios: Sequence[float], text: str | None = None) -> tuple[float, ...]:
    """Return fractions as they are. Raises UsageError for one that is not between 0 and 1."""
    if len(ratios) == 0 or not all(0 < ratio < 1 for ratio in ratios):
        if text is not None:
            raise UsageError(_invalid_ratios(text))
        given = ", ".join(map(str, ratios))
        raise UsageError(f"mask ratios are fractions such as (0.75, 0.85), not ({given}).")
    return tuple(float(ratio) for ratio in ratios)


def _invalid_ratios(text: str) -> str:
    return f"mask ratios are percentages such as 75,85,95, not '{text}'."
