"""From an opened image or an array to 8-bit grey or RGB: range, profile and background."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pinxit.data.decoding.background import choose_background, composite, find_hidden
from pinxit.data.decoding.conversion import FULL, WHITES, Conversion, Kind, Range, choose_range
from pinxit.data.decoding.deep import is_deep, read_deep
from pinxit.data.decoding.opening import UnreadableImage, apply_orientation
from pinxit.data.decoding.profiles import InvalidProfile, apply_profile, convert_lab

if TYPE_CHECKING:
    from jaxtyping import Num, UInt8
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

ALPHA_MODES = ("LA", "RGBA")
SCALED_AT_A_TIME = 1 << 20  # values


@dataclass(frozen=True)
class ImageFacts:
    """What an image says about the conversion of its set; the defaults are those of most images."""

    kind: Kind = "uint8"
    low: float | None = None  # extremes of its stored values; None: not measured
    high: float | None = None
    integers: bool = True
    has_gaps: bool = False  # values that are not finite numbers
    hidden: dict[str, bool] | None = None  # by background; None: nothing is transparent
    profile: str = ""  # `applied` or `invalid`
    num_frames: int = 1


USUAL = ImageFacts()


def is_ordinary(image: ImageFile) -> bool:
    """Return whether an opened image has 8 bits, no transparency and no color profile."""
    is_plain = image.mode in ("L", "RGB") and not image.has_transparency_data
    return is_plain and "icc_profile" not in image.info and not is_deep(image)


def file_to_8_bit(
    image: ImageFile, content: bytes, channels: int, conversion: Conversion
) -> tuple[Image, ImageFacts]:
    """Convert an opened image to mode L or RGB, upright; with the facts found on the way.

    What the conversion leaves open is chosen from this image alone.
    """
    profile = image.info.get("icc_profile")
    if is_deep(image):
        return array_to_8_bit(read_deep(image, content), channels, conversion, profile)
    expanded = _expand(apply_orientation(image), profile)
    converted, facts = _rescale(expanded, conversion.uint8)
    return _flatten(converted, channels, conversion, facts, profile)


def array_to_8_bit(
    values: Num[np.ndarray, "height width *channel"],
    channels: int,
    conversion: Conversion,
    profile: bytes | None = None,
) -> tuple[Image, ImageFacts]:
    """Convert values of any type, grey or with 1 to 4 channels, as `file_to_8_bit` does."""
    from PIL import Image as Pillow

    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        image, facts = _rescale(Pillow.fromarray(np.ascontiguousarray(values)), conversion.uint8)
    else:
        image, facts = _deep_to_image(values, conversion)
    return _flatten(image, channels, conversion, facts, profile)


# -- values of 8 bits ------------------------------------------------------------------------------


def _expand(image: Image, profile: bytes | None) -> Image:
    """Convert an image to mode L, RGB, LA or RGBA; or leave CMYK, if it has a profile."""
    if image.mode in ALPHA_MODES or (image.mode == "CMYK" and profile):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode == "LAB":
        return convert_lab(image)
    if image.mode not in ("L", "RGB"):
        return image.convert("L" if image.mode == "1" else "RGB")
    return image


def _rescale(image: Image, range_: Range | None) -> tuple[Image, ImageFacts]:
    if range_ == FULL or image.mode == "CMYK":
        return image, USUAL
    extremes = np.atleast_2d(image.getextrema())
    is_alpha = [band == "A" for band in image.getbands()]
    low, high = extremes[~np.array(is_alpha)].min(), extremes[~np.array(is_alpha)].max()
    facts = dataclasses.replace(USUAL, low=float(low), high=float(high))
    range_ = range_ or choose_range("uint8", low, high, integers=True)
    if range_ == FULL:
        return image, facts
    table = scale(np.arange(256), range_).tolist()
    tables = [list(range(256)) if alpha else table for alpha in is_alpha]
    return image.point([level for band in tables for level in band]), facts


# -- deeper values ---------------------------------------------------------------------------------


def scale(values: np.ndarray, range_: Range) -> UInt8[np.ndarray, ...]:
    """Scale values linearly from a range to 0 to 255; those outside are cut off."""
    low, high = range_
    levels = np.empty(values.shape, np.uint8)
    step = max(1, SCALED_AT_A_TIME * len(values) // max(1, values.size))
    for start in range(0, len(values), step):  # in parts, as floats take 8 times the memory
        with np.errstate(invalid="ignore"):  # signaling NaNs, which become 0 below
            part = values[start : start + step].astype(np.float64)
        scaled = np.nan_to_num((part - low) * (255 / (high - low)), posinf=255, neginf=0)
        levels[start : start + step] = np.clip(np.rint(scaled), 0, 255)
    return levels


def _deep_to_image(values: np.ndarray, conversion: Conversion) -> tuple[Image, ImageFacts]:
    from PIL import Image as Pillow

    has_alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    colors = values[..., :-1] if has_alpha else values
    facts = _measure(colors)
    range_ = conversion.range_of(facts.kind)
    if range_ is None:
        assert facts.low is not None and facts.high is not None, "measured"
        range_ = choose_range(facts.kind, facts.low, facts.high, facts.integers)
    pixels = scale(colors, range_)
    if has_alpha:
        pixels = np.concatenate([pixels, _scale_alpha(values[..., -1:])], axis=-1)
    return Pillow.fromarray(np.ascontiguousarray(pixels)), facts


def _measure(values: np.ndarray) -> ImageFacts:
    is_float = values.dtype.kind == "f"
    finite = values[np.isfinite(values)] if is_float else values
    if not finite.size:
        raise UnreadableImage("its values are not finite numbers")
    return dataclasses.replace(
        USUAL,
        kind="floating" if is_float else "integer",
        low=float(finite.min()),
        high=float(finite.max()),
        integers=not is_float or bool((finite == np.rint(finite)).all()),
        has_gaps=finite.size < values.size,
    )


def _scale_alpha(alpha: np.ndarray) -> np.ndarray:
    """Scale alpha by the bits that it uses: 1 and 255 are opaque for floats, 65,535 for 16 bits."""
    most = float(np.nanmax(alpha))
    return scale(alpha, (0, next((white for white in WHITES if most <= white), most)))


# -- colors and background -------------------------------------------------------------------------


def _flatten(
    image: Image, channels: int, conversion: Conversion, facts: ImageFacts, profile: bytes | None
) -> tuple[Image, ImageFacts]:
    """Apply the profile, then the background, and convert to mode L or RGB."""
    if profile:
        try:
            colored = apply_profile(image, profile)
        except InvalidProfile:
            facts = dataclasses.replace(facts, profile="invalid")
        else:
            facts = dataclasses.replace(facts, profile="" if colored is image else "applied")
            image = colored
    if image.mode in ALPHA_MODES:
        image, facts = _composite(image.convert("RGBA"), conversion, facts)
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "CMYK":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode), facts


def _composite(image: Image, conversion: Conversion, facts: ImageFacts) -> tuple[Image, ImageFacts]:
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), facts
    hidden = find_hidden(np.asarray(image))
    background = conversion.background
    if background is None:
        background = choose_background({name: int(is_) for name, is_ in hidden.items()}, 1)
    return composite(image, background), dataclasses.replace(facts, hidden=hidden)
