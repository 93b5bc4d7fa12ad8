"""What the methods of a run take as images: `Images`, DATA, arrays, Pillow images, names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinxit import console
from pinxit.api.checks import check_count
from pinxit.data.decode import decode
from pinxit.data.encoding import encode_losslessly
from pinxit.data.home_folder import expand_home
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.data.sources import name_source
from pinxit.errors import UsageError, format_value
from pinxit.runs import Run
from pinxit.sampling.inputs import (
    find_image,
    load_for_run,
    load_named_images,
    load_run_data,
    match_labels,
    select_rows,
    source_images,
    warn_of_unknown_labels,
)

# anything that `load_images` takes, a Pillow image, or uint8 pixels of one image or of several
AnyImages = (
    Images
    | str
    | Path
    | Sequence[str | Path]
    | Image.Image
    | np.ndarray
    | Sequence[Image.Image]
    | Sequence[np.ndarray]
)
AnyImage = Images | str | Path | int | Image.Image | np.ndarray
AnyMask = Images | str | Path | Image.Image | np.ndarray  # also of bool, `[height, width]` or more


def read_images(
    run: Run,
    model: object,
    images: AnyImages | None,
    split: str | None,
    num_images: int | None,
    own: Images | None,
) -> Images:
    """Return `num_images` of the images of `read_rows`, evenly spaced, in memory.

    Their labels have the numbers that the model gives them.
    """
    check_count("num_images", num_images, optional=True)
    rows = read_rows(run, model, images, split, own).evenly_spaced(num_images)
    return match_labels(model, rows.load())


def read_rows(
    run: Run,
    model: object,
    images: AnyImages | None,
    split: str | None,
    own: Images | None,
) -> ImageRows:
    """Return images in the size and channels of a model; `own` are of the training, if loaded.

    Their labels are those of the source: those that the model does not know are printed. None
    stands for the test split of the run's own images. Raises UsageError for a split without images
    and for no images, PinxitError if they cannot be read.
    """
    data = name_data(run, images, own)
    if isinstance(data, Images):
        loaded = data
    else:
        loaded = load_for_run(run, data) if data else load_run_data(run, progress=False)
    selected, warning = select_rows(loaded, split or ("test" if images is None else "all"))
    if warning:
        console.echo(f"warning: {warning}")
    warn_of_unknown_labels(model, loaded)
    return selected


def name_data(run: Run, images: AnyImages | None, own: Images | None) -> tuple[str, ...] | Images:
    """Return the names of DATA, `()` for the run's own; or `Images` of what has no name.

    A Path is never the name of a source. Raises UsageError for no images, and for what is none.
    """
    if images is None:
        return () if own is None else own
    if isinstance(images, Image.Image | np.ndarray):
        images = convert(run, images)
    elif isinstance(images, str | Path):
        return (name_source(images),)
    elif not isinstance(images, Images):
        images = _read_list(run, images)
    if len(images) == 0:
        raise UsageError("there are no images.")
    return images


def _read_list(run: Run, images: Any) -> tuple[str, ...] | Images:
    """Return names of files as texts, arrays and Pillow images in the run's size."""
    items = list(images) if isinstance(images, Sequence) else [images]
    if all(isinstance(item, str | Path) for item in items):
        return tuple(map(name_source, items))
    if all(isinstance(item, Image.Image | np.ndarray) for item in items):
        return Images.concatenate(convert(run, item) for item in items)
    wrong = format_value(next(item for item in items if not isinstance(item, str | Path)))
    raise UsageError(
        f"images are Images, the name of DATA, files, arrays or Pillow images, not {wrong}."
    )


def load_own(run: Run, own: Images | None) -> Images:
    """Return the images that the run was trained on, of all splits."""
    return load_run_data(run, progress=False) if own is None else own


def read_image(run: Run, image: AnyImage, own: Images | None, sources: bool = False) -> Images:
    """Return one image: a file, a name or number among the run's images, an array, or `Images`.

    With `sources` a name or number of a pair of an edit gives the image before it. Raises
    UsageError for several images.
    """
    if isinstance(image, Image.Image | np.ndarray):
        image = convert(run, image)
    if isinstance(image, Images):
        if len(image) != 1:
            raise UsageError(f"one image is needed, not {len(image)}: images[0] selects one.")
        return image
    name = name_source(image) if isinstance(image, str | Path) else str(image)
    if (file := expand_home(name)).is_file():
        return load_named_images(run, [file], progress=False, sources=sources)
    if own is not None:
        named = own[find_image(own, name)]
        return source_images(named) if sources else named
    return load_named_images(run, [name], progress=False, sources=sources)


def convert(run: Run, images: Image.Image | np.ndarray) -> Images:
    """Return a Pillow image or an array in the size and channels of a run.

    Raises UsageError for an array of another type or shape.
    """
    if isinstance(images, Image.Image):
        return Images(_decode(run, encode_losslessly(images))[None])
    if images.size == 0:
        raise UsageError("there are no images.")
    array = images[..., None] if images.ndim == 2 else images
    array = array[None] if array.ndim == 3 else array
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] not in (1, 3, 4):
        raise UsageError(
            "an array of pixels is uint8 [height, width(, 3)], or [n, height, width, channel], "
            f"not {images.dtype} {list(images.shape)}."
        )
    return Images(np.stack([_decode(run, pixels) for pixels in array]))


def _decode(run: Run, content: bytes | np.ndarray) -> np.ndarray:
    """Return uint8 pixels of the size and channels of a run."""
    info, options = run.info, run.load_options
    return decode(
        lambda: content, info.height, info.width, info.channels, options.fit, options.conversion
    )
