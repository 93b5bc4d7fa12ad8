"""Encode generated images with the size, format, background and mask of a request."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from scipy import ndimage

from pinxit.data.decoding.resize import resize_to_fit
from pinxit.data.images import Images
from pinxit.serve.media.uploads import EditMask, UploadedImage, parse_size
from pinxit.serve.pools import work_on_images
from pinxit.serve.schemas import ImageOptions

Pixels = UInt8[np.ndarray, "height width channel"]

MAX_INLINE_PIXELS = 256 * 256  # larger images are encoded in a thread, not in the event loop
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, eq=False)
class OutputSpec:
    """The format of a request's images.

    With `source` and `mask`, the source's pixels outside the mask are returned unchanged.
    """

    size: tuple[int, int] | None = None  # width, height; None: the model's own
    format: str = "png"
    compression: int | None = None  # quality of JPEG and WebP, 0 to 100
    transparent: bool = False
    source: UploadedImage | None = None
    mask: EditMask | None = None

    @classmethod
    def from_options(
        cls,
        options: ImageOptions,
        source: UploadedImage | None = None,
        mask: EditMask | None = None,
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
        )

    async def encode(self, pixels: Pixels) -> EncodedImage:
        """Encode one generated image."""
        is_large = self.size is not None and self.size[0] * self.size[1] > MAX_INLINE_PIXELS
        if is_large or self.mask is not None:
            return await work_on_images(self.encode_now, pixels)
        return self.encode_now(pixels)

    def encode_now(self, pixels: Pixels) -> EncodedImage:
        image = to_pil(pixels)
        generated_size = image.size
        if self.source is not None and self.mask is not None:
            image = paste_outside_mask(image, self.source, self.mask)
        elif self.transparent:
            image = remove_background(image)
        image = resize(image, self.size)
        content = encode_image(image, self.format, self.compression)
        is_transparent = image.mode == "RGBA"
        return EncodedImage(content, image.size, generated_size, self.format, is_transparent)


@dataclass(frozen=True)
class EncodedImage:
    """The file of a generated image."""

    content: bytes
    size: tuple[int, int]
    generated_size: tuple[int, int]
    format: str
    is_transparent: bool

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()

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


def normalize_quality(options: ImageOptions) -> str:
    """Return the `quality` of a response: models have one quality only."""
    return options.quality if options.quality in ("low", "medium", "high") else "high"


def to_pil(pixels: Pixels) -> Image.Image:
    return Images(np.ascontiguousarray(pixels)[None]).pil()


def paste_outside_mask(
    generated: Image.Image, source: UploadedImage, mask: EditMask
) -> Image.Image:
    """Return the source with the pixels of the mask generated and all others exactly its own."""
    with Image.open(io.BytesIO(source.content)) as file:
        original = ImageOps.exif_transpose(file).convert("RGB")
    resized = np.asarray(_undo_center_crop(generated.convert("RGB"), original))
    return Image.fromarray(np.where(mask.regenerate[..., None], resized, np.asarray(original)))


def _undo_center_crop(generated: Image.Image, original: Image.Image) -> Image.Image:
    """Resize a model's image onto the center of the image that its input was cropped from."""
    scale = min(original.width / generated.width, original.height / generated.height)
    width = max(1, round(generated.width * scale))
    height = max(1, round(generated.height * scale))
    image = original.copy()
    left, top = (original.width - width) // 2, (original.height - height) // 2
    image.paste(generated.resize((width, height)), (left, top))
    return image


def resize(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Resize to (width, height), padded with the color of the corners; None: unchanged."""
    if size is None:
        return image
    width, height = size
    return resize_to_fit(image, height, width, fit="pad")


def encode_image(image: Image.Image, format: str = "png", compression: int | None = None) -> bytes:
    """Encode as png, jpeg or webp; `compression` is the quality of JPEG and WebP, 0 to 100."""
    with io.BytesIO() as file:
        if format == "png":
            image.save(file, "PNG", compress_level=1)
        elif format == "jpeg":
            quality = 95 if compression is None else min(compression, 95)
            image.convert("RGB").save(file, "JPEG", quality=quality)
        else:
            image.save(file, "WEBP", quality=90 if compression is None else compression, method=2)
        return file.getvalue()


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
