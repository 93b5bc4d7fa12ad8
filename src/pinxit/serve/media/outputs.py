"""Generated images as files: size, format, background and mask of the request applied."""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from pinxit.data.images import Images
from pinxit.serve.inference.requests import Ask
from pinxit.serve.media.uploads import Sent, size_of
from pinxit.serve.schemas import Options

if TYPE_CHECKING:
    pass
if TYPE_CHECKING:
    from PIL.Image import Image


def kept_outside(made: Image, over: Sent, mask: bytes) -> Image:
    """What was made where the mask is transparent, elsewhere the image's own pixels, exactly.

    The answer is of the image's size.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(over.content)) as image:
        base = ImageOps.exif_transpose(image).convert("RGB")
    with Image.open(io.BytesIO(mask)) as image:
        alpha = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))[..., 3]
    new = np.asarray(_covering(made.convert("RGB"), base))
    return Image.fromarray(np.where((alpha < 128)[..., None], new, np.asarray(base)))


def _covering(made: Image, base: Image) -> Image:
    """A model's image laid back over the middle that was cropped out of a larger one."""
    scale = min(base.width / made.width, base.height / made.height)
    inner = made.resize((max(1, round(made.width * scale)), max(1, round(made.height * scale))))
    sheet = base.copy()
    sheet.paste(inner, ((base.width - inner.width) // 2, (base.height - inner.height) // 2))
    return sheet


def image_of(pixels: UInt8[np.ndarray, "height width channel"]) -> Image:
    """Pixels as a Pillow image."""
    return Images(np.ascontiguousarray(pixels)[None]).to_pil()


def resampled(image: Image, size: tuple[int, int] | None) -> Image:
    """At the size asked for: as large as fits, the rest in the colour of the corners."""
    from pinxit.data.decode import resize_to

    return image if size is None or image.size == size else resize_to(image, *size, fit="pad")


def encoded(image: Image, kind: str = "png", compression: int | None = None) -> bytes:
    """The bytes of a file; `compression` is the quality of JPEG and WebP, 0 to 100."""
    with io.BytesIO() as file:
        if kind == "png":
            image.save(file, "PNG", compress_level=1)
        elif kind == "jpeg":
            quality = 95 if compression is None else min(compression, 95)
            image.convert("RGB").save(file, "JPEG", quality=quality)
        else:
            image.save(file, "WEBP", quality=90 if compression is None else compression, method=2)
        return file.getvalue()


def cut_out(image: Image) -> Image:
    """The plain ground around what is drawn made transparent: what is like the corner and
    touches the edge. An image without a plain ground stays as it is."""
    from PIL import Image
    from scipy import ndimage

    pixels = np.asarray(image.convert("RGB"))
    near = np.abs(pixels.astype(int) - pixels[0, 0].astype(int)).max(-1) <= 24
    regions = np.zeros(near.shape, np.int32)
    ndimage.label(near, output=regions)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    ground = np.isin(regions, np.unique(edge[edge > 0]))
    if (edge > 0).mean() < 0.8:
        return image
    alpha = np.where(ground, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([pixels, alpha]), "RGBA")


INLINE = 256 * 256  # pixels above which an image is encoded beside the event loop

HOW = ("guidance", "temperature", "top_k", "top_p", "best_of")


def how_of(options: Options) -> tuple[tuple[str, Any], ...]:
    """What of the options a model is told, if anything."""
    found = ((name, getattr(options, name)) for name in HOW)
    return tuple((name, value) for name, value in found if value is not None)


@dataclass(frozen=True)
class Wanted:
    """What a request asks of its images' files."""

    size: tuple[int, int] | None
    kind: str = "png"
    compression: int | None = None
    transparent: bool = False

    @classmethod
    def of(cls, options: Options, size: tuple[int, int] | None = None) -> Wanted:
        """`size` is that of an answer whose size is left open. Raises Refusal for a bad one."""
        return cls(
            size_of(options.size) or size,
            options.output_format or "png",
            options.output_compression,
            options.background == "transparent",
        )

    async def file(self, pixels: np.ndarray, ask: Ask) -> File:
        """One image as a file."""
        large = self.size is not None and self.size[0] * self.size[1] > INLINE
        large = large or ask.mask is not None
        return (
            await asyncio.to_thread(self._file, pixels, ask) if large else self._file(pixels, ask)
        )

    def _file(self, pixels: np.ndarray, ask: Ask) -> File:
        image = image_of(pixels)
        made = image.size
        if ask.mask is not None and ask.source is not None:
            image = kept_outside(image, ask.source, ask.mask)
        elif self.transparent:
            image = cut_out(image)
        image = resampled(image, self.size)
        content = encoded(image, self.kind, self.compression)
        return File(content, image.size, made, self.kind, image.mode == "RGBA")


@dataclass(frozen=True)
class File:
    """An image's file and what it is."""

    content: bytes
    size: tuple[int, int]
    made: tuple[int, int]  # as the model painted it
    kind: str
    transparent: bool

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that every answer has of an image."""
        return {
            "size": f"{self.size[0]}x{self.size[1]}",
            "background": "transparent" if self.transparent else "opaque",
            "output_format": self.kind,
        }

    @property
    def resampled_from(self) -> str | None:
        """The model's own size, where the answer is of another."""
        return None if self.size == self.made else f"{self.made[0]}x{self.made[1]}"


def size_left_open(source: Sent | None, mask: bytes | None) -> tuple[int, int] | None:
    """Of an edit under a mask the image's own size, else the model's."""
    return (source.width, source.height) if source is not None and mask is not None else None
