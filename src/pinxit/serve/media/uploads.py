"""Uploaded images: checked by their header, decoded once they are needed, at the size they are."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from pinxit.data.decode import UnreadableImage, decode, decode_stretched
from pinxit.data.decoding.opening import orientation
from pinxit.data.decoding.pixels import is_ordinary
from pinxit.data.decoding.png_chunks import drop_ancillary_chunks
from pinxit.data.decoding.resize import resize_to_fit
from pinxit.data.load_options import make_load_options
from pinxit.serve.errors import ApiError, truncate
from pinxit.serve.media.framing import Frame, center_frame, choose_frame

if TYPE_CHECKING:
    from pinxit.data.batch import DatasetInfo

MAX_IMAGE_BYTES = 20 * 2**20
MAX_IMAGE_PIXELS = 40_000_000
MAX_REQUEST_PIXELS = 100_000_000  # of all images of a request that are decoded
MIN_SIDE, MAX_SIDE = 16, 2048  # pixels per side, limits of `size`
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
PNG_ORIENTATION = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # where a PNG may have it
CHECKED_SIDE = 16  # pixels of an image that is decoded only to see whether it can be

Pixels = UInt8[np.ndarray, "height width channel"]


@dataclass(frozen=True, eq=False)
class UploadedImage:
    """An image file with a valid header, its upright size, and whether it may be transparent.

    Decoding raises ApiError for damaged pixels. It takes long: see `pools.work_on_images`.
    """

    content: bytes
    width: int  # after the EXIF orientation
    height: int
    has_alpha: bool = False
    param: str = "image"  # the request field, for errors
    _fitted: dict[object, Pixels] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @cached_property
    def original(self) -> Image.Image:
        """All pixels, upright: RGBA if the file has transparency, else RGB."""
        try:
            with Image.open(io.BytesIO(self.content), formats=FORMATS) as image:
                if image.mode.startswith(("I", "F")):  # 16 bits, which Pillow would cut off
                    pixels = decode(lambda: self.content, self.height, self.width, 3, fit="crop")
                    return Image.fromarray(pixels)
                image.load()
                upright = ImageOps.exif_transpose(image)
                return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        except Exception:  # decoders raise many types on malformed bytes
            raise _damage_error(self.param) from None

    @property
    def transparent(self) -> Bool[np.ndarray, "height width"] | None:
        """Which pixels have an alpha below 128; None: the file has no alpha."""
        if self.original.mode != "RGBA":
            return None
        return np.asarray(self.original.getchannel("A")) < 128

    @property
    def has_holes(self) -> bool:
        """Whether the file has an alpha channel that is 0 somewhere."""
        if not self.has_alpha or self.original.mode != "RGBA":
            return False
        alpha = self.original.getchannel("A").getextrema()
        return alpha[0] == 0

    def check(self) -> None:
        """Decode a reduced version, unless the image has been decoded. Raises ApiError."""
        if not self._fitted and "original" not in vars(self):
            size = CHECKED_SIDE, CHECKED_SIDE, 1
            self._fitted[None] = self._read(lambda: decode(lambda: self.content, *size, fit="crop"))

    def fit_to(self, info: DatasetInfo, frame: Frame | None = None) -> Pixels:
        """Return a model's input: resampled, with the values of its training.

        It shows what the frame does; without one the middle, as large as can be. The image is
        decoded once for each model and frame.
        """
        key = (info.height, info.width, info.channels, *sorted(info.conversion.items()), frame)
        if key not in self._fitted:
            self._fitted[key] = self._read(lambda: self._fit_to(info, frame))
        return self._fitted[key]

    def _fit_to(self, info: DatasetInfo, frame: Frame | None) -> Pixels:
        conversion = make_load_options(info.conversion).conversion
        channels, shape = info.channels, (info.height, info.width, info.channels)
        read = self._read_decoded if self._is_decoded else lambda: self.content
        if frame is None:
            return decode(read, *shape, fit="crop", conversion=conversion)
        if frame.window is None:
            width, height = frame.content_size
            content = decode_stretched(read, height, width, channels, conversion)
            return np.asarray(frame.pad(_to_image(content))).reshape(shape)
        whole = decode_stretched(read, self.height, self.width, channels, conversion)
        window = _to_image(whole).crop(frame.window)
        fitted = resize_to_fit(window, info.height, info.width, "crop", conversion.resample)
        return np.asarray(fitted).reshape(shape)

    @property
    def _is_decoded(self) -> bool:
        """Whether all that a model reads is in `original`: plain 8-bit values."""
        if "original" not in vars(self):
            return False
        with Image.open(io.BytesIO(self.content), formats=FORMATS) as image:
            return is_ordinary(image)

    def _read_decoded(self) -> Pixels:
        return np.asarray(self.original)

    def _read(self, work: Callable[[], Pixels]) -> Pixels:
        try:
            return work()
        except UnreadableImage as error:
            message = f"The image cannot be read: {truncate(error)}."
            raise ApiError(message, param=self.param, code="invalid_image_format") from None


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
        if mask.size != source.size:
            raise ApiError(
                f"The mask is {mask.width}x{mask.height} pixels, the image "
                f"{source.width}x{source.height}; both must have the same size.",
                param=param,
                code="invalid_image_size",
            )
        transparent = mask.transparent
        if transparent is None:
            raise ApiError(
                "The mask has no alpha channel; its transparent pixels are generated.",
                param=param,
                code="invalid_image_mode",
            )
        return cls(transparent, param)

    def choose_frame(self, info: DatasetInfo) -> Frame:
        """Return what a model reads of the image to fill in the mask."""
        height, width = self.regenerate.shape
        return choose_frame((width, height), (info.width, info.height), self.regenerate)

    def fit_to(
        self, info: DatasetInfo, frame: Frame | None = None
    ) -> Bool[np.ndarray, "height width"]:
        """Return the mask at a model's size, without a frame that of the middle.

        Raises ApiError if nothing is left to generate.
        """
        height, width = self.regenerate.shape
        frame = frame or center_frame((width, height), (info.width, info.height))
        fitted = frame.read_mask(self.regenerate)
        if not fitted.any():
            message = "The mask is opaque everywhere: there is nothing to generate."
            raise ApiError(message, param=self.param)
        return fitted


def open_upload(content: bytes, param: str = "image") -> UploadedImage:
    """Check the header of an image file. Raises ApiError if it is invalid or too large."""
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
    try:
        return _open_file(content, param)
    except ApiError as error:  # a PNG may hold large texts, which other programs ignore
        repaired, _ = drop_ancillary_chunks(content)
        if len(repaired) == len(content) or error.code != "invalid_image_format":
            raise
        return _open_file(repaired, param)


def _open_file(content: bytes, param: str) -> UploadedImage:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_dimensions(image, param)
            width, height = image.size
            if _may_be_turned(image, content) and orientation(image) >= 5:
                width, height = height, width
            return UploadedImage(content, width, height, image.has_transparency_data, param)
    except Image.DecompressionBombError:
        raise _too_many_pixels(param) from None
    except ApiError:
        raise
    except Exception:  # decoders raise many types on malformed bytes
        raise _damage_error(param) from None


def _may_be_turned(image: Image.Image, content: bytes) -> bool:
    """Return whether a file has an orientation; Pillow would decode all of a PNG to look for it."""
    return image.format != "PNG" or any(name in content for name in PNG_ORIENTATION)


def _damage_error(param: str) -> ApiError:
    message = "The file is not a valid PNG, JPEG, WebP or GIF image."
    return ApiError(message, param=param, code="invalid_image_format")


def _check_dimensions(image: Image.Image, param: str) -> None:
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_many_pixels(param)
    if min(image.size) < 2:
        message = f"The image has {image.width}x{image.height} pixels; the minimum is 2x2."
        raise ApiError(message, param=param, code="image_too_small")


def _to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _too_many_pixels(param: str) -> ApiError:
    message = f"The image has more than {MAX_IMAGE_PIXELS // 10**6} megapixels."
    return ApiError(message, param=param, code="image_too_large")


def check_pixel_budget(images: Sequence[UploadedImage | None], param: str) -> None:
    """Raises ApiError if the images of a request have too many pixels together."""
    num_pixels = sum(image.width * image.height for image in images if image is not None)
    if num_pixels > MAX_REQUEST_PIXELS:
        raise ApiError(
            f"The images of the request have {num_pixels / 1e6:.0f} megapixels together; "
            f"the maximum is {MAX_REQUEST_PIXELS // 10**6}.",
            param=param,
            code="image_too_large",
        )


def decode_data_url(url: str, param: str) -> bytes:
    """Return the file of a `data:` URL. Raises ApiError for any other URL or invalid content."""
    match = re.match(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+=-]+)*?);base64,", url, re.IGNORECASE)
    if match is None:
        raise ApiError(
            f"'{truncate(url)}' is not a data URL of an image (data:image/png;base64,...).",
            param=param,
            code="invalid_image_url",
        )
    return decode_base64(url[match.end() :], param)


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
