"""Encode generated images with the size, format, background and mask of a request."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from scipy import ndimage

from pinxit.data.decoding.resize import inner_size, pad, stretch
from pinxit.data.images import Images
from pinxit.serve.errors import ApiError
from pinxit.serve.media.framing import Frame
from pinxit.serve.media.uploads import EditMask, UploadedImage, parse_size
from pinxit.serve.pools import work_on_images
from pinxit.serve.schemas import ImageOptions

Pixels = UInt8[np.ndarray, "height width channel"]

BASE64_PART_BYTES = 3 * 2**18  # divisible by 3, so that the parts join
MAX_PIXEL_SIDE = 64  # of an image that is enlarged with hard edges
MAX_INLINE_PIXELS = 256 * 256  # larger images are encoded in a thread, not in the event loop
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, eq=False)
class OutputSpec:
    """The format of a request's images.

    With `source` and `mask`, the source's pixels outside the mask are returned unchanged. `frame`
    is the part of the source that the model reads and its output shows.
    """

    size: tuple[int, int] | None = None  # width, height; None: the model's own
    format: str = "png"
    compression: int | None = None  # quality of JPEG and WebP, 0 to 100
    transparent: bool = False
    source: UploadedImage | None = None
    mask: EditMask | None = None
    frame: Frame | None = None

    @classmethod
    def from_options(
        cls,
        options: ImageOptions,
        source: UploadedImage | None = None,
        mask: EditMask | None = None,
        frame: Frame | None = None,
        *,
        default_size: tuple[int, int] | None = None,
    ) -> OutputSpec:
        """Read a request's options. Raises ApiError for an invalid size."""
        return cls(
            parse_size(options.size) or default_size,
            options.output_format or "png",
            options.output_compression,
            options.background == "transparent",
            source,
            mask,
            frame,
        )

    async def encode(self, pixels: Pixels) -> EncodedImage:
        """Encode one generated image."""
        width, height = self.size or pixels.shape[1::-1]
        if width * height > MAX_INLINE_PIXELS or self.mask is not None:
            return await work_on_images(self._encode_with_base64, pixels)
        return self.encode_now(pixels)

    def _encode_with_base64(self, pixels: Pixels) -> EncodedImage:
        image = self.encode_now(pixels)
        _ = image.base64  # in this thread, not in the event loop
        return image

    def encode_now(self, pixels: Pixels) -> EncodedImage:
        image = self.render(pixels)
        content = encode_image(image, self.format, self.compression)
        generated_size = pixels.shape[1], pixels.shape[0]
        is_transparent = image.mode == "RGBA" and self.format != "jpeg"
        return EncodedImage(content, image.size, generated_size, self.format, is_transparent)

    def render(self, pixels: Pixels) -> Image.Image:
        """Return the image of a model's output: with its source, without padding, at its size."""
        image = to_pil(pixels)
        if self.source is not None and self.mask is not None and self.frame is not None:
            image = paste_outside_mask(image, self.source, self.mask, self.frame)
            return resize(image, self.size)
        proportions = None
        if self.frame is not None:
            image, proportions = self.frame.cut(image), self.frame.source
        if self.transparent:
            image = remove_background(image)
        return resize(image, self.size, proportions)


@dataclass(frozen=True)
class EncodedImage:
    """The file of a generated image."""

    content: bytes
    size: tuple[int, int]
    generated_size: tuple[int, int]
    format: str
    is_transparent: bool

    @cached_property
    def base64(self) -> str:
        """The content in base64: in parts, between which other threads go on."""
        starts = range(0, len(self.content), BASE64_PART_BYTES)
        parts = (self.content[start : start + BASE64_PART_BYTES] for start in starts)
        return "".join([base64.b64encode(part).decode() for part in parts])

    @property
    def fields(self) -> dict[str, Any]:
        """The response fields that describe an image."""
        return {
            "size": f"{self.size[0]}x{self.size[1]}",
            "background": "transparent" if self.is_transparent else "opaque",
            "output_format": self.format,
        }

    @property
    def size_before_resampling(self) -> str | None:
        """The generated size, if the file has another one."""
        if self.size == self.generated_size:
            return None
        return f"{self.generated_size[0]}x{self.generated_size[1]}"


def check_options(options: ImageOptions, prefix: str = "", *, has_mask: bool = False) -> None:
    """Raises ApiError for an invalid size, and for options of the file that exclude each other.

    `prefix` stands before the names of the fields; `has_mask`: the image is edited with a mask.
    """
    parse_size(options.size, f"{prefix}size")
    is_transparent = options.background == "transparent"
    if is_transparent and options.output_format == "jpeg":
        raise ApiError("A JPEG cannot be transparent.", param=f"{prefix}background")
    if is_transparent and has_mask:
        message = "With a mask, 'background' cannot be transparent: the image's own is kept."
        raise ApiError(message, param=f"{prefix}background")
    is_lossy = options.output_format in ("jpeg", "webp")
    if not is_lossy and options.output_compression not in (None, 100):  # what clients may send
        message = "A PNG has no 'output_compression' but 100; it needs the format jpeg or webp."
        raise ApiError(message, param=f"{prefix}output_compression")


def normalize_quality(options: ImageOptions) -> str:
    """Return the `quality` of a response: models have one quality only."""
    return options.quality if options.quality in ("low", "medium", "high") else "high"


def to_pil(pixels: Pixels) -> Image.Image:
    return Images(np.ascontiguousarray(pixels)[None]).pil()


def paste_outside_mask(
    generated: Image.Image, source: UploadedImage, mask: EditMask, frame: Frame
) -> Image.Image:
    """Return the source with the pixels of the mask generated and all others exactly its own."""
    original = source.original
    left, top, right, bottom = frame.window or (0, 0, *source.size)
    shown = enlarge(frame.cut(generated).convert("RGB"), right - left, bottom - top)
    pixels = np.array(original)
    part, inner = mask.regenerate[top:bottom, left:right], pixels[top:bottom, left:right]
    inner[part, :3] = np.asarray(shown)[part]
    inner[part, 3:] = 255
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 255:  # no transparent pixel is left
        pixels = np.ascontiguousarray(pixels[..., :3])
    return Image.fromarray(pixels)


def resize(
    image: Image.Image,
    size: tuple[int, int] | None,
    proportions: tuple[int, int] | None = None,
) -> Image.Image:
    """Resize to (width, height), padded with the color of the corners; None: unchanged.

    `proportions`: (width, height) that have those of the image, which may be rounded.
    """
    if size is None:
        return image
    width, height = size
    inner_width, inner_height = inner_size(proportions or image.size, height, width)
    return pad(enlarge(image, inner_width, inner_height), height, width)


def enlarge(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize to a size. The pixels of a small image stay squares with hard edges.

    They are enlarged by a whole factor, to this size or a little above, and then reduced to it by
    the mean: by a factor that is not whole, edges are one blended pixel wide.
    """
    is_small = max(image.size) <= MAX_PIXEL_SIDE
    if not is_small or width < image.width or height < image.height:
        return stretch(image, height, width)
    factor_x, factor_y = -(-width // image.width), -(-height // image.height)
    whole = image.width * factor_x, image.height * factor_y
    return stretch(image.resize(whole, Image.Resampling.NEAREST), height, width, "area")


def encode_image(image: Image.Image, format: str = "png", compression: int | None = None) -> bytes:
    """Encode as png, jpeg or webp; `compression` is the quality of JPEG and WebP, 0 to 100."""
    with io.BytesIO() as file:
        if format == "png":
            image.save(file, "PNG", compress_level=1)
        elif format == "jpeg":
            quality = 95 if compression is None else min(compression, 95)
            _flatten(image).save(file, "JPEG", quality=quality)
        else:
            image.save(file, "WEBP", quality=90 if compression is None else compression, method=2)
        return file.getvalue()


def _flatten(image: Image.Image) -> Image.Image:
    """Return an image for a format without transparency: on white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def media_type(content: bytes) -> str:
    """Return the media type of an image file by its first bytes."""
    magic = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
    format = next((name for head, name in magic.items() if content.startswith(head)), "")
    return MEDIA_TYPES.get(format, "application/octet-stream")


def remove_background(image: Image.Image) -> Image.Image:
    """Make a plain background transparent; return other images unchanged.

    The background is connected to the edge and within 24 grey levels of the top left pixel. It is
    plain if it covers 80 % of the edge.
    """
    pixels = np.asarray(image.convert("RGB"))
    near = np.abs(pixels.astype(int) - pixels[0, 0].astype(int)).max(-1) <= 24
    regions = np.zeros(near.shape, np.int32)
    ndimage.label(near, output=regions)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    if (edge > 0).mean() < 0.8:
        return image
    background = np.isin(regions, np.unique(edge[edge > 0]))
    alpha = np.where(background, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([pixels, alpha]), "RGBA")
