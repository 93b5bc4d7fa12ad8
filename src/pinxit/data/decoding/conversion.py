"""How the values of a file become 8-bit pixels: range, background and filter, as load options.

One conversion holds for all images of a set, so that an image that is ten times as bright as
another stays brighter. What the options leave to `auto` is found from all images of the set, and
stored with it. Imports no numpy, so that `--help` stays fast.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from pinxit.errors import UsageError

Kind = Literal["uint8", "integer", "floating"]  # of stored values: 8 bits, other integers, floats
Range = tuple[float, float]  # the values that become black and white
RGB = tuple[int, int, int]
Resample = Literal["auto", "nearest", "area", "lanczos"]

KINDS: tuple[Kind, ...] = get_args(Kind)
FULL: Range = (0, 255)
WHITES = (1, 255, 1_023, 4_095, 16_383, 65_535)  # of 1, 8, 10, 12, 14 and 16 bits
# values up to an eighth of a white would be nearly black: their own maximum is then white
USED_SHARE = 8
BACKGROUNDS: dict[str, RGB] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
}


@dataclass(frozen=True)
class Conversion:
    """Range of each kind of value, background and filter. None: found from the images."""

    uint8: Range | None = None
    integer: Range | None = None
    floating: Range | None = None
    background: RGB | None = None  # what transparent pixels show
    resample: Resample = "auto"

    def range_of(self, kind: Kind) -> Range | None:
        return getattr(self, kind)

    def merge(self, found: Conversion) -> Conversion:
        """Return this conversion with what it leaves open taken from another."""
        names = ("uint8", "integer", "floating", "background")
        open_ = {name: getattr(found, name) for name in names if getattr(self, name) is None}
        return dataclasses.replace(self, **open_)

    def to_options(self) -> dict[str, str]:
        """Return the load options that give this conversion."""
        ranges = {kind: self.range_of(kind) for kind in KINDS}
        words = [f"{kind}:{r[0]!r},{r[1]!r}" for kind, r in ranges.items() if r is not None]
        background = "auto" if self.background is None else f"#{bytes(self.background).hex()}"
        return {
            "range": " ".join(words) or "auto",
            "background": background,
            "resample": self.resample,
        }


def parse_conversion(range_: str, background: str, resample: Resample) -> Conversion:
    """Return the conversion that load options ask for.

    Raises UsageError for invalid options.
    """
    if resample not in get_args(Resample):
        names = ", ".join(f"'{name}'" for name in get_args(Resample))
        raise UsageError(f"resample is one of {names}, not '{resample}'.")
    ranges = _parse_ranges(range_)
    return Conversion(**ranges, background=_parse_background(background), resample=resample)


def _parse_ranges(text: str) -> dict[str, Range]:
    """Parse `auto`, `LOW,HIGH` or, by kind of value, `uint8:LOW,HIGH integer:LOW,HIGH`."""
    if text == "auto":
        return {}
    if ":" in text:
        pairs = [part.partition(":") for part in text.split()]
        if all(kind in KINDS for kind, _, _ in pairs):
            return {kind: _parse_range(values, text) for kind, _, values in pairs}
    range_ = _parse_range(text, text)
    # 8-bit files beside deeper ones keep their own range
    kinds = KINDS if range_[0] >= 0 and range_[1] <= 255 else ("integer", "floating")
    return dict.fromkeys(kinds, range_)


def _parse_range(text: str, whole: str) -> Range:
    try:
        low, high = (float(number) for number in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"range is 'auto' or LOW,HIGH: the values that become black and white, such as "
            f"0,4095 or -1,1; not '{whole}'."
        )
    return low, high


def _parse_background(text: str) -> RGB | None:
    if text == "auto":
        return None
    if text in BACKGROUNDS:
        return BACKGROUNDS[text]
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text) is None:
        names = ", ".join(f"'{name}'" for name in ("auto", *BACKGROUNDS))
        raise UsageError(f"background is {names} or a color such as '#ff8000', not '{text}'.")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def choose_range(kind: Kind, low: float, high: float, integers: bool) -> Range:
    """Return the values that become black and white, from the extremes of all images of a set.

    Integers that are not negative are taken to have the smallest of 1, 8, 10, 12, 14 and 16 bits
    that holds them; floats to run from 0 or -1 to 1 or to 255. Other extremes are the range.
    """
    if kind == "uint8":
        return (0, 1) if high == 1 else FULL
    if low < 0:
        return (-1, 1) if not integers and -1 <= low < -0.5 and high <= 1 else (low, max(high, 0))
    if high == 0:
        return 0, 65_535 if integers else 1
    whites = WHITES if integers else WHITES[:2]
    white = next((white for white in whites if high <= white), None)
    is_dark = white in (1, 255) and high * USED_SHARE < white
    return 0, high if white is None or is_dark else white


def describe_range(kind: Kind, range_: Range) -> str:
    """Return a note on a range that a user would not expect; "" for one that is usual."""
    low, high = range_
    usual = {"uint8": [FULL], "integer": [FULL, (0, 65_535)], "floating": [FULL, (0, 1)]}
    if range_ in usual[kind]:
        return ""
    if range_ == (0, 1):
        return "values 0 and 1 are scaled to 0 and 255; choose other values with --range"
    bits = f"{int(high).bit_length()}-bit values: " if low == 0 and high in WHITES else "values: "
    return f"{bits}{low:g} to {high:g} are scaled to 0 to 255; choose others with --range"
