"""Check and decode uploaded images, and fit them to a model's size."""

from __future__ import annotations

import base64
import binascii
import io
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from pinxit.data.decode import UnreadableImage, decode
from pinxit.data.decoding.png_chunks import drop_ancillary_chunks
from pinxit.data.decoding.resize import resize_to_fit
from pinxit.data.load_options import make_load_options
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.pools import NUM_CORES

if TYPE_CHECKING:
    from pinxit.data.batch import DatasetInfo

MAX_IMAGE_BYTES = 20 * 2**20
MAX_IMAGE_PIXELS = 40_000_000
MIN_SIDE, MAX_SIDE = 16, 2048  # pixels per side, limits of `size`
_decoding = threading.BoundedSemaphore(NUM_CORES)  # a large image takes hundreds of MiB
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


@dataclass(frozen=True, eq=False)
class UploadedImage:
    """A valid image file, its upright size and its transparency."""

    content: bytes
    width: int  # after the EXIF orientation
    height: int
    # True for alpha below 128; None: the file has no alpha
    transparent: Bool[np.ndarray, "height width"] | None = None
    has_holes: bool = False  # an alpha channel that is 0 somewhere

    def fit_to(self, info: DatasetInfo) -> UInt8[np.ndarray, "height width channel"]:
        """Return a model's input: center-cropped, resampled, with the values of its training."""
        shape = (info.height, info.width, info.channels)
        conversion = make_load_options(info.conversion).conversion
        try:
            return decode(lambda: self.content, *shape, fit="crop", conversion=conversion)
        except UnreadableImage as error:
            message = f"The image cannot be read: {error}."
            raise ApiError(message, param="image", code="invalid_image_format") from None


@dataclass(frozen=True, eq=False)
class EditMask:
    """Which pixels of an uploaded image to generate, at the image's own size."""

    regenerate: Bool[np.ndarray, "height width"]
    param: str = "mask"  # the request field, for errors

    @classmethod
    def from_upload(cls, mask: UploadedImage, source: UploadedImage, param: str) -> EditMask:
        """Read a mask, as OpenAI defines it: the transparent pixels are generated.

        Raises ApiError for a mask of another size than its image, and for one without alpha.
        """
        if (mask.width, mask.height) != (source.width, source.height):
            raise ApiError(
                f"The mask is {mask.width}x{mask.height} pixels, the image "
                f"{source.width}x{source.height}; both must have the same size.",
                param=param,
                code="invalid_image_size",
            )
        if mask.transparent is None:
            raise ApiError(
                "The mask has no alpha channel; its transparent pixels are generated.",
                param=param,
                code="invalid_image_mode",
            )
        return cls(mask.transparent, param)

    def fit_to(self, info: DatasetInfo) -> Bool[np.ndarray, "height width"]:
        """Return the mask at a model's size. Raises ApiError if nothing is left to generate."""
        mask = Image.fromarray(np.where(self.regenerate, 255, 0).astype(np.uint8))
        fitted = (
            np.asarray(resize_to_fit(mask, info.height, info.width, fit="crop", resample="lanczos"))
            > 0
        )
        if not fitted.any():
            message = "The mask is opaque everywhere: there is nothing to generate."
            raise ApiError(message, param=self.param)
        return fitted


def decode_upload(content: bytes, param: str = "image") -> UploadedImage:
    """Check and decode an image file. Raises ApiError if it is invalid or too large."""
    if not content:
        raise ApiError("The image file is empty.", param=param, code="empty_image_file")
    if len(content) > MAX_IMAGE_BYTES:
        raise ApiError(
            f"The image file has {len(content) / 2**20:.0f} MiB; "
            f"the maximum is {MAX_IMAGE_BYTES // 2**20} MiB.",
            status=413,
            param=param,
            code="image_file_too_large",
        )
    with _decoding:
        return _decode_repaired(content, param)


def _decode_repaired(content: bytes, param: str) -> UploadedImage:
    try:
        return _decode_file(content, param)
    except ApiError:  # a PNG may hold large texts, which other programs ignore
        repaired, _ = drop_ancillary_chunks(content)
        if len(repaired) == len(content):
            raise
        return _decode_file(repaired, param)


def _decode_file(content: bytes, param: str) -> UploadedImage:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_dimensions(image, param)
            return _read_image(image, content)
    except Image.DecompressionBombError:
        raise _too_many_pixels(param) from None
    except ApiError:
        raise
    except Exception:  # decoders raise many types on malformed bytes
        raise ApiError(
            "The file is not a valid PNG, JPEG, WebP or GIF image.",
            param=param,
            code="invalid_image_format",
        ) from None


def _check_dimensions(image: Image.Image, param: str) -> None:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_many_pixels(param)
    if min(image.size) < 2:
        message = f"The image has {image.width}x{image.height} pixels; the minimum is 2x2."
        raise ApiError(message, param=param, code="image_too_small")


def _read_image(image: Image.Image, content: bytes) -> UploadedImage:
    image.load()
    upright = ImageOps.exif_transpose(image)
    has_holes = image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema()[0] == 0
    transparent = None
    if upright.has_transparency_data:
        transparent = np.asarray(upright.convert("RGBA").getchannel("A")) < 128
    return UploadedImage(content, upright.width, upright.height, transparent, has_holes)


def _too_many_pixels(param: str) -> ApiError:
    message = f"The image has more than {MAX_IMAGE_PIXELS // 10**6} megapixels."
    return ApiError(message, param=param, code="image_too_large")


def decode_data_url(url: str, param: str) -> UploadedImage:
    """Decode the image of a `data:` URL. Raises ApiError for any other URL or invalid content."""
    match = re.match(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+=-]+)*?);base64,", url, re.IGNORECASE)
    if match is None:
        raise ApiError(
            f"'{truncate(url)}' is not a data URL of an image (data:image/png;base64,...).",
            param=param,
            code="invalid_image_url",
        )
    return decode_upload(decode_base64(url[match.end() :], param), param)


def decode_base64(text: str, param: str) -> bytes:
    """Decode base64, also with line breaks and without padding. Raises ApiError if invalid."""
    compact = "".join(text.split()).rstrip("=")
    compact = compact.replace("-", "+").replace("_", "/")  # the form that is safe in URLs
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        message = "The image is not valid base64."
        raise ApiError(message, param=param, code="invalid_base64_image") from None


def parse_size(text: str | None, param: str = "size") -> tuple[int, int] | None:
    """Parse `256x128` as (width, height); None for `auto`. Raises ApiError for anything else."""
    if text is None or text == "auto":
        return None
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text, re.ASCII)
    if match is None or not all(MIN_SIDE <= int(side) <= MAX_SIDE for side in match.groups()):
        raise ApiError(
            f"The size must be 'auto' or WIDTHxHEIGHT with sides of {MIN_SIDE} to {MAX_SIDE} "
            f"pixels, not '{truncate(text)}'.",
            param=param,
            code="invalid_value",
        )
    return int(match[1]), int(match[2])
