"""Color profiles (ICC): convert the colors of an image to sRGB, as viewers do."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ROUNDING = 3  # levels by which a profile of sRGB itself may differ from sRGB
MAX_PROFILES = 64  # in memory

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # by color space


class InvalidProfile(Exception):
    """A profile that is damaged, or made for images of another mode."""


def apply_profile(image: Image, profile: bytes) -> Image:
    """Convert an 8-bit image with its ICC profile to sRGB, and its alpha unchanged.

    The image is returned as it is if the profile leaves the colors as they are.
    Raises InvalidProfile.
    """
    colors = image.convert(_mode_without_alpha(image.mode))
    if colors.mode == "L" and _read_mode(profile) == "RGB":  # grey images often have that of sRGB
        colors = colors.convert("RGB")
    transform = _build_transform(profile, colors.mode)
    if transform is None:
        return image
    from PIL import ImageCms

    try:
        converted = ImageCms.applyTransform(colors, transform)
    except (ImageCms.PyCMSError, ValueError) as error:
        raise InvalidProfile(str(error)) from None
    assert converted is not None, "not in place"
    if image.mode in ("RGBA", "LA"):
        converted.putalpha(image.getchannel("A"))
    return converted


def convert_lab(image: Image) -> Image:
    """Convert an image of mode LAB, which Pillow does not convert by itself, to RGB."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None, "not in place"
    return converted


def _mode_without_alpha(mode: str) -> str:
    return {"RGBA": "RGB", "LA": "L"}.get(mode, mode)


@functools.lru_cache(MAX_PROFILES)
def _read_mode(profile: bytes) -> str:
    """Return the mode of the images that a profile is for; "" if it is not known."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""
    return _MODES.get(str(getattr(source.profile, "xcolor_space", "")).strip(), "")


@functools.lru_cache(MAX_PROFILES)
def _build_transform(profile: bytes, mode: str) -> Any | None:
    """Return the transform from a profile to sRGB; None if it changes no color.

    Raises InvalidProfile.
    """
    from PIL import ImageCms

    if _read_mode(profile) != mode:
        raise InvalidProfile(f"not for {mode}")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb, flags = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOCACHE  # threads share it
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise InvalidProfile(str(error)) from None
    return transform if _changes_colors(transform, mode) else None


def _changes_colors(transform: Any, mode: str) -> bool:
    from PIL import Image, ImageCms

    if mode not in ("L", "RGB"):
        return True
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    colors = Image.fromarray(levels[None] if mode == "L" else cube)
    converted = np.asarray(ImageCms.applyTransform(colors, transform)).astype(int)
    return bool(abs(converted - np.asarray(colors.convert("RGB"))).max() > MAX_ROUNDING)
