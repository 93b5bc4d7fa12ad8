"""An image of the user's as the model sees it: cropped, resized, perhaps grey; and what to say."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pinxit.data.batch import DatasetInfo
from pinxit.data.decode import is_grey
from pinxit.data.decoding.resize import crop_box
from pinxit.serve.media.sources import ImageSources, RequestImages
from pinxit.serve.media.uploads import UploadedImage
from pinxit.serve.pools import work_on_images
from pinxit.serve.studio.text import clean_text, to_base64_png

MIN_CROPPED = 0.02  # share of the image that is cut off, to be worth a note
COLOR_CHECK_SIDE = 64  # pixels, at which an image is checked for colors


async def fit_input(url: str, name: str, info: DatasetInfo) -> dict[str, Any]:
    """Return the model's input as a PNG file, the crop in fractions of the image, and notes.

    Raises ApiError for what is no image.
    """
    return await work_on_images(_fit, url, name, info)


def _fit(url: str, name: str, info: DatasetInfo) -> dict[str, Any]:
    source = RequestImages(ImageSources()).load_url(url, "image")
    left, top, right, bottom = crop_box((source.width, source.height), info.height, info.width)
    crop = [left / source.width, top / source.height, right / source.width, bottom / source.height]
    return {
        "png": to_base64_png(source.fit_to(info)),
        "crop": [round(edge, 4) for edge in crop],
        "notes": _describe(source, clean_text(name, 60) or "The image", info, crop),
    }


def _describe(source: UploadedImage, name: str, info: DatasetInfo, crop: list[float]) -> list[str]:
    """Return a sentence if the model does not see the image as it is, as the commands say it."""
    changes = []
    if 1 - (crop[2] - crop[0]) * (crop[3] - crop[1]) > MIN_CROPPED:
        changes.append("cropped to the frame")
    if (source.width, source.height) != (info.width, info.height):
        changes.append(f"resized to {info.width} × {info.height}")
    if info.channels == 1 and not _is_grey(source):
        changes.append("turned grey")
    if not changes:
        return []
    return [f"{name} is {source.width} × {source.height}; for this model {', '.join(changes)}."]


def _is_grey(source: UploadedImage) -> bool:
    with Image.open(io.BytesIO(source.content)) as file:
        file.draft("RGB", (COLOR_CHECK_SIDE, COLOR_CHECK_SIDE))
        image = ImageOps.exif_transpose(file).convert("RGB")
    image.thumbnail((COLOR_CHECK_SIDE, COLOR_CHECK_SIDE))
    return is_grey(np.asarray(image))
