"""Images that others send, checked before they are decoded, and images as others want them."""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, UInt8

from pinxit.data.decode import UnreadableImage, decode
from pinxit.serve.errors import Refusal, short

if TYPE_CHECKING:
    from pinxit.data.batch import DatasetInfo

MOST_BYTES = 20 * 2**20  # of one image
MOST_PIXELS = 40_000_000
SIDES = (16, 2048)  # least and most pixels a side that may be asked for
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MEDIA = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

Mask = Bool[np.ndarray, "height width"]  # True: to be painted anew


@dataclass(frozen=True)
class Sent:
    """An image that was sent: its bytes, known to be whole, and its size as it is shown."""

    content: bytes
    width: int
    height: int
    has_alpha: bool = False

    def fitted(self, info: DatasetInfo) -> UInt8[np.ndarray, "height width channel"]:
        """As a model takes it: cropped to its proportions, resampled, in its channels."""
        try:
            return decode(lambda: self.content, info.height, info.width, info.channels, fit="crop")
        except UnreadableImage as error:
            raise Refusal(
                f"the image {error}.", param="image", code="invalid_image_format"
            ) from None


def received(content: bytes, param: str = "image") -> Sent:
    """Bytes that are an image. Raises Refusal for any that are not one, or are too large a one."""
    from PIL import Image, ImageOps

    if not content:
        raise Refusal("the image is empty.", param=param, code="empty_image_file")
    if len(content) > MOST_BYTES:
        raise Refusal(
            f"the image has {len(content) / 2**20:.0f} MiB, more than {MOST_BYTES // 2**20}.",
            status=413,
            param=param,
            code="image_file_too_large",
        )
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _too_large(image.width, image.height, param)
            if min(image.size) < 2:
                raise Refusal(
                    f"an image of {image.width} x {image.height} shows nothing.",
                    param=param,
                    code="image_too_small",
                )
            image.load()
            upright = ImageOps.exif_transpose(image)
            holes = image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema()[0] == 0
            return Sent(content, upright.width, upright.height, holes)
    except Image.DecompressionBombError:
        raise _too_large(0, 0, param) from None
    except Refusal:
        raise
    except Exception:  # decoders raise nearly anything on malformed bytes
        raise Refusal(
            "this is no whole image that can be read (PNG, JPEG, WebP or GIF).",
            param=param,
            code="invalid_image_format",
        ) from None


def _too_large(width: int, height: int, param: str) -> Refusal:
    size = f"an image of {width} x {height} pixels" if width else "the image"
    return Refusal(
        f"{size} is larger than the {MOST_PIXELS // 10**6} megapixels that are decoded.",
        param=param,
        code="image_too_large",
    )


def from_data_url(url: str, param: str) -> Sent:
    """An image of a `data:` URL. Raises Refusal for any other and for what is broken in it."""
    match = re.match(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+=-]+)*?);base64,", url, re.IGNORECASE)
    if match is None:
        raise Refusal(
            f"'{short(url)}' is no data URL of an image (data:image/png;base64,...).",
            param=param,
            code="invalid_image_url",
        )
    return received(from_base64(url[match.end() :], param), param)


def from_base64(text: str, param: str) -> bytes:
    """The bytes of base64. Raises Refusal where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(
            "the image's base64 is broken.", param=param, code="invalid_base64_image"
        ) from None


def mask_of(content: bytes, over: Sent, info: DatasetInfo, param: str = "mask") -> Mask:
    """Where an image is to be painted anew, at a model's size: where the mask's alpha is 0.

    Raises Refusal for a mask of another size than its image, or one without alpha.
    """
    from PIL import Image

    sent = received(content, param)
    if (sent.width, sent.height) != (over.width, over.height):
        raise Refusal(
            f"the mask is {sent.width}x{sent.height}, its image {over.width}x{over.height}.",
            param=param,
            code="invalid_image_size",
        )
    with Image.open(io.BytesIO(content)) as image:
        if not image.has_transparency_data:
            raise Refusal(
                "the mask has no alpha channel: what is transparent is painted anew.",
                param=param,
                code="invalid_image_mode",
            )
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    shown = Image.fromarray(np.where(alpha < 128, 255, 0).astype(np.uint8))
    with io.BytesIO() as file:
        shown.save(file, "PNG")
        small = decode(file.getvalue, info.height, info.width, 1, fit="crop")[..., 0]
    missing = small > 0
    if not missing.any():
        raise Refusal("the mask is opaque everywhere: nothing is to be painted.", param=param)
    return missing


def size_of(text: str | None, param: str = "size") -> tuple[int, int] | None:
    """`256x128` as width and height; None for `auto`: the model's own size.

    Raises Refusal for anything else, and for sides that are too small or large.
    """
    if text is None or text == "auto":
        return None
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text, re.ASCII)
    least, most = SIDES
    if match is None or not all(least <= int(side) <= most for side in match.groups()):
        raise Refusal(
            f"size is 'auto' or WIDTHxHEIGHT, {least} to {most} pixels a side, "
            f"not '{short(text)}'.",
            param=param,
            code="invalid_value",
        )
    return int(match[1]), int(match[2])
